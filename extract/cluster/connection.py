"""Getting a Dask cluster to extract on: one that runs already, or processes of this machine."""

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from dask.config import set as configured
from distributed import Client, Nanny, Scheduler, SpecCluster, Worker
from distributed.system import MEMORY_LIMIT

from ...cache import SpaceClipError
from .worker import SHARES, THREADS

_CONNECT_SECONDS = 15
# A worker that is silent for so long is started anew. Loading an encoder keeps one silent for some seconds.
_ALIVE = "60s"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


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

    # Those of other numbers may be other people's.
    given = os.environ.get(_VISIBLE)
    visible = given.split(",") if given else list(map(str, range(workers)))

    def options(number: int) -> Mapping[str, Any]:
        return {
            "host": "127.0.0.1",
            "nthreads": THREADS,
            "env": {SHARES: str(workers)} | ({_VISIBLE: visible[number].strip()} if gpus else {}),
            "silence_logs": logging.ERROR,
            # Importing our modules takes seconds. Done when the plugin arrives, the worker would look dead meanwhile.
            "preload": [__name__],
            "memory_limit": MEMORY_LIMIT // workers,
            # A shard's memory is no data that Dask could spill; and a worker that pauses may do so for ever.
            "config": {f"distributed.worker.memory.{measure}": False for measure in ("target", "spill", "pause")},
        }

    scheduler = {
        "cls": Scheduler,
        "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "worker_ttl": _ALIVE},
    }
    spec = {number: {"cls": Nanny, "options": options(number)} for number in range(workers)}
    quiet: Any = logging.ERROR  # a level, though it is typed as yes or no
    with (
        # Else a worker that needs longer to start anew is given up for good.
        configured({"distributed.deploy.lost-worker-timeout": "1 day"}),
        SpecCluster(workers=spec, scheduler=scheduler, silence_logs=quiet) as cluster,
        Client(cluster) as client,
    ):
        yield client


def dask_setup(_worker: Worker) -> None:
    """Called by Dask in each process of a local cluster: Ctrl-C, which reaches all, is not meant for these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def dashboard(client: Client) -> str:
    """Where the dashboard is, or how there would be one."""
    asked: Any = client  # distributed types its calls for both kinds of clients
    if asked.run_on_scheduler(find_spec, "bokeh") is None:
        return "none, since the scheduler's machine lacks bokeh (pip install bokeh)"
    return str(asked.dashboard_link)
