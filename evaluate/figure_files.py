"""Figures and the report page of a result as files."""

from pathlib import Path

from ..cache import SpaceClipError, write_atomically
from .evaluation import Evaluation
from .figures import error_figure, prediction_figure
from .report import report_page
from .result_files import ERRORS, FIGURE, REPORT, RESULTS
from .text import printable


def write_figures(folder: Path, evaluation: Evaluation) -> None:
    """Write `predictions.png`, `errors.png` and `report.html`, each whole or not at all.

    Args:
        folder: Where to; that of the numbers.
        evaluation: What was found.

    Raises:
        SpaceClipError: Some could not be drawn; the others are there.
    """
    protocol, data, caption = evaluation.results.rows[0].protocol, evaluation.results.title, evaluation.caption
    failed = []
    for name, draw in (
        (FIGURE, lambda: prediction_figure(evaluation.examples.spread, protocol, evaluation.scale, data, caption)),
        (ERRORS, lambda: error_figure(evaluation.scores[0], evaluation.baseline, data, caption)),
        (REPORT, lambda: printable(report_page(evaluation)).encode()),
    ):
        try:
            content = draw()
        except Exception as error:
            failed.append(f"{name} ({' '.join(f'{type(error).__name__}: {error}'.split())})")
        else:
            write_atomically(folder / name, content)
    if failed:
        raise SpaceClipError(f"{folder}: could not draw {', '.join(failed)}; the numbers are whole, in {RESULTS}")
