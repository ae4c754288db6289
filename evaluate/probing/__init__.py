"""Linear probes: how well a frozen layer's patch tokens tell the depth of their patch, in closed form."""

from .figure import probe_figure
from .probes import probe_layers
from .results import ProbeResults
from .ridge import STRENGTHS
from .tables import probe_csv, probe_markdown

__all__ = ["STRENGTHS", "ProbeResults", "probe_csv", "probe_figure", "probe_layers", "probe_markdown"]
