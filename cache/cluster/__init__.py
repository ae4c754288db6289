"""Work on a Dask cluster: reaching it, what its workers compute with, tasks that survive the loss of a worker."""

from .connection import certificates, connected, dashboard, local_cluster, reached, scheduler_needed
from .environment import Chosen, Environment, choose_environment, cores_here
from .plugins import clear_up, on_workers, run_name
from .scheduling import Flight, Kind
from .worker_pool import MachineError, TaskFailedError, WorkerUnfitError

__all__ = [
    "Chosen",
    "Environment",
    "Flight",
    "Kind",
    "MachineError",
    "TaskFailedError",
    "WorkerUnfitError",
    "certificates",
    "choose_environment",
    "clear_up",
    "connected",
    "cores_here",
    "dashboard",
    "local_cluster",
    "on_workers",
    "reached",
    "run_name",
    "scheduler_needed",
]
