"""Extraction on a Dask cluster."""

from .driver import Cluster
from .encoders import encoders_kept
from .environment import environment_here

__all__ = ["Cluster", "encoders_kept", "environment_here"]
