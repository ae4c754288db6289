"""Getting a Dask cluster to extract on: one that runs already, or processes of this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import Client, Nanny, Scheduler, SpecCluster

from ..cache import SpaceClipError
from .cluster import SHARES, THREADS

_CONNECT_SECONDS = 15


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of a running scheduler.

    Raises:
        SpaceClipError: There is none at the address.
    """
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise SpaceClipError(
            f"--scheduler {address}: no scheduler answers there ({type(error).__name__}); start one (`dask scheduler`) "
            "or mend the address, such as tcp://host:8786"
        ) from error
    with client:
        yield client


@contextmanager
def local_cluster(workers: int, *, gpus: bool) -> Iterator[Client]:
    """A cluster of this machine's own: processes that share its cores, or one process a GPU.

    Args:
        workers: Processes.
        gpus: Give each its own GPU.

    Raises:
        SpaceClipError: There are fewer GPUs than workers.
    """
    import torch

    if gpus and torch.cuda.device_count() < workers:
        raise SpaceClipError(
            f"--workers {workers} --gpus: {torch.cuda.device_count()} GPUs are here; give as many workers or fewer"
        )

    def options(number: int) -> Mapping[str, Any]:
        shares = {SHARES: str(workers)}
        return {"nthreads": THREADS, "env": shares | ({"CUDA_VISIBLE_DEVICES": str(number)} if gpus else {})}

    spec = {number: {"cls": Nanny, "options": options(number)} for number in range(workers)}
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": ":0", "host": "127.0.0.1"}}
    with SpecCluster(workers=spec, scheduler=scheduler) as cluster, Client(cluster) as client:
        yield client
