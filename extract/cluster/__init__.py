"""Extraction on a Dask cluster."""

from .connection import certificates, connected, dashboard, local_cluster
from .driver import Cluster
from .environment import choose_environment
from .plugins import encoders_kept

__all__ = ["Cluster", "certificates", "choose_environment", "connected", "dashboard", "encoders_kept", "local_cluster"]
