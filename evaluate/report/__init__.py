"""One self-contained HTML page: of an evaluation, or of anything else that is laid out as a `Page`."""

from ..charts import chart, draw_by_place, draw_depths, draw_runs, draw_seeds, seeds_height
from ..pictures import ERROR, IMAGE, PREDICTION, TRUTH, pictures
from ..training_run import read_curves, training_settings
from .gallery import Gallery, Picture, Shown, gallery_columns
from .page import Chart, Page, Section, Table, render
from .run import BOUNDARIES, RANDOM, run_page
from .views import views_section

__all__ = [
    "BOUNDARIES",
    "ERROR",
    "IMAGE",
    "PREDICTION",
    "RANDOM",
    "TRUTH",
    "Chart",
    "Gallery",
    "Page",
    "Picture",
    "Section",
    "Shown",
    "Table",
    "chart",
    "draw_by_place",
    "draw_depths",
    "draw_runs",
    "draw_seeds",
    "gallery_columns",
    "pictures",
    "read_curves",
    "render",
    "run_page",
    "seeds_height",
    "training_settings",
    "views_section",
]
