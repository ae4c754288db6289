"""Extraction on a Dask cluster."""

from .connection import Certificates, connected, dashboard, local_cluster
from .driver import fill_on

__all__ = [
    "Certificates",
    "connected",
    "dashboard",
    "fill_on",
    "local_cluster",
]
