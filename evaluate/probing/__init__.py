"""Linear probes: how well a frozen layer's patch tokens tell the depth of their patch, in closed form."""

from .figure import probe_figure
from .probes import probe_layers
from .results import ProbeResults
from .ridge import STRENGTHS
from .tables import probe_csv, probe_markdown
from .views import FeatureViews, named_rows, ranked_views, spread_rows
from .views_figure import VIEWS, views_figure

__all__ = [
    "STRENGTHS",
    "VIEWS",
    "FeatureViews",
    "ProbeResults",
    "named_rows",
    "probe_csv",
    "probe_figure",
    "probe_layers",
    "probe_markdown",
    "ranked_views",
    "spread_rows",
    "views_figure",
]
