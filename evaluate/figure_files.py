"""Figures and the report page of a result as files."""

from pathlib import Path

from ..cache import SpaceClipError, write_atomically
from .evaluation import Evaluation
from .figures import error_figure, prediction_figure
from .report import run_page
from .result_files import ERRORS, FIGURE, REPORT, RESULTS


def write_figures(folder: Path, evaluation: Evaluation) -> None:
    """Write `predictions.png`, `errors.png` and `report.html`, each whole or not at all.

    Args:
        folder: Where to; that of the numbers.
        evaluation: What was found.

    Raises:
        SpaceClipError: Some could not be drawn; the others are there.
    """
    results, examples, scale = evaluation.results, evaluation.examples, evaluation.scale
    first, data, caption = results.rows[0], results.title, evaluation.caption
    breakdown = first.breakdown
    assert breakdown  # only results that were read from a file may lack it
    failed = []
    for name, draw in (
        (FIGURE, lambda: prediction_figure(examples.spread, first.protocol, scale, data, caption)),
        (ERRORS, lambda: error_figure(breakdown, first.baseline_breakdown, data, caption)),
        (REPORT, lambda: run_page(results, examples.ranked, evaluation.checkpoint, evaluation.views).encode()),
    ):
        try:
            content = draw()
        except Exception as error:
            failed.append(f"{name} ({' '.join(f'{type(error).__name__}: {error}'.split())})")
        else:
            write_atomically(folder / name, content)
    if failed:
        raise SpaceClipError(f"{folder}: could not draw {', '.join(failed)}; the numbers are whole, in {RESULTS}")
