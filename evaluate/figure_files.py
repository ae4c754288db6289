"""Figures and the report page of a result as files."""

from pathlib import Path

from ..cache import write_atomically
from .evaluation import Evaluation
from .figures import error_figure, prediction_figure
from .report import report_page

FIGURE = "predictions.png"
ERRORS = "errors.png"
REPORT = "report.html"


def write_figures(folder: Path, evaluation: Evaluation) -> None:
    """Write `predictions.png`, `errors.png` and `report.html`, each whole or not at all.

    Args:
        folder: Where to; that of the numbers.
        evaluation: What was found.
    """
    protocol, caption = evaluation.results.rows[0].protocol, evaluation.caption
    predictions = prediction_figure(evaluation.examples.spread, protocol, caption)
    errors = error_figure(evaluation.scores[0], evaluation.baseline, caption)
    write_atomically(folder / FIGURE, predictions)
    write_atomically(folder / ERRORS, errors)
    page = report_page(evaluation, {"predictions": predictions, "errors": errors})
    write_atomically(folder / REPORT, page.encode())
