"""The embedded data set: rooms and streets made up by numbers and ray-traced on the spot, with exact depth."""

from .synthetic_source import SyntheticSettings, SyntheticSource

__all__ = ["SyntheticSettings", "SyntheticSource"]
