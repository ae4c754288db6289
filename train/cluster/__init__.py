"""Training on a Dask cluster: decoders side by side, each worker with its share of them."""

from .driver import fit_on
from .job import Job

__all__ = ["Job", "fit_on"]
