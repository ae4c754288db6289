"""What depth costs beside the encoder that a host runs anyway."""

from .measurement import Cost, measure_cost
from .source import Source

__all__ = ["Cost", "Source", "measure_cost"]
