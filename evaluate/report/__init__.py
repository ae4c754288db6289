"""One self-contained HTML page: of an evaluation, or of anything else that is laid out as a `Page`."""

from .gallery import Gallery, Shown, gallery_columns
from .page import Chart, Page, Section, Table, made_with, render
from .run import run_page

__all__ = [
    "Chart",
    "Gallery",
    "Page",
    "Section",
    "Shown",
    "Table",
    "gallery_columns",
    "made_with",
    "render",
    "run_page",
]
