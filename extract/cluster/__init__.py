"""Extraction on a Dask cluster."""

from .connection import Certificates, connected, dashboard, local_cluster
from .driver import Cluster, encoders_kept
from .environment import choose_environment

__all__ = [
    "Certificates",
    "Cluster",
    "choose_environment",
    "connected",
    "dashboard",
    "encoders_kept",
    "local_cluster",
]
