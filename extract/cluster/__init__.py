"""Extraction on a Dask cluster."""

from .connection import connected, dashboard, local_cluster
from .driver import fill_on

__all__ = [
    "connected",
    "dashboard",
    "fill_on",
    "local_cluster",
]
