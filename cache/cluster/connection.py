"""Getting a Dask cluster to work on: one that runs already, or processes of this machine."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from dask.config import set as configured
from distributed import Client, Nanny, Scheduler, Security, SpecCluster
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.system import MEMORY_LIMIT

from ..errors import SpaceClipError, first_line

_CONNECT_SECONDS = 15
# A worker that is silent for so long is started anew. Loading an encoder keeps one silent for some seconds.
_ALIVE = "60s"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def certificates(authority: Path, certificate: Path, key: Path | None = None) -> Security:
    """Files by which a cluster's processes know one another, as `dask scheduler --tls-ca-file` takes them.

    Args:
        authority: Certificate of the authority that signed all of them.
        certificate: This process's own.
        key: The private key of that; None where the certificate's file holds it.
    """
    return Security(
        require_encryption=True,
        tls_ca_file=str(authority),
        tls_client_cert=str(certificate),
        tls_client_key=str(key or certificate),
    )


def reached(
    scheduler: str | None, certificates: Security | None, workers: int, *, gpus: bool, say: Callable[[str], None]
) -> AbstractContextManager[Client]:
    """A client of the cluster at an address (see `connected`) or, with none, of one here (see `local_cluster`)."""
    return local_cluster(workers, gpus=gpus) if scheduler is None else connected(scheduler, certificates, say)


@contextmanager
def connected(
    address: str, security: Security | None = None, say: Callable[[str], None] = lambda _line: None
) -> Iterator[Client]:
    """A client of a running scheduler.

    Args:
        address: Of the scheduler.
        security: For an encrypted connection; else Dask's own configuration has its say.
        say: Called with a line where others could reach the cluster too.

    Raises:
        SpaceClipError: There is none at the address, or the certificates do not fit.
    """
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, security=security)
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        remedy = "or the certificates (--tls-ca, --tls-cert, --tls-key)" if security else "such as tcp://host:8786"
        raise SpaceClipError(
            f"--scheduler {address}: no scheduler answers there ({type(error).__name__}: {first_line(error)}); start "
            f"one (`dask scheduler`) or mend the address, {remedy}"
        ) from error
    with client:
        if not address.startswith(("tls://", "inproc://")):
            say(
                f"--scheduler {address} is not encrypted, and who reaches its port can run code as you: where others "
                "do, use certificates (--tls-ca, --tls-cert, --tls-key; docs/clusters.md)"
            )
        # That the scheduler is lost is said in a line of ours.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        yield client


@contextmanager
def local_cluster(workers: int, *, gpus: bool) -> Iterator[Client]:
    """A cluster of this machine's own: processes that share its cores, or one process a GPU.

    It listens on loopback alone, and only to who has its certificates, which no other user of the machine can read.

    Args:
        workers: Processes.
        gpus: Give each its own GPU.

    Raises:
        SpaceClipError: There are fewer GPUs than workers.
    """
    if gpus:
        import torch

        if (present := torch.cuda.device_count()) < workers:
            raise SpaceClipError(f"--workers {workers} --gpus: {present} GPUs are here; give as many workers or fewer")

    # Those of other numbers may be other people's.
    given = os.environ.get(_VISIBLE)
    visible = given.split(",") if given else list(map(str, range(workers)))

    security = Security.temporary()
    ours: dict[str, Any] = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    nanny = ours | {
        "nthreads": 1,
        "silence_logs": logging.ERROR,
        # Importing our modules takes seconds. Done when the plugin arrives, the worker would look dead meanwhile.
        "preload": [__name__],
        "memory_limit": MEMORY_LIMIT // workers,
        # A shard's memory is no data that Dask could spill; and a worker that pauses may do so for ever.
        "config": {f"distributed.worker.memory.{measure}": False for measure in ("target", "spill", "pause")},
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"dashboard_address": "127.0.0.1:0", "worker_ttl": _ALIVE, **ours},
    }
    spec = {
        number: {"cls": Nanny, "options": {**nanny, "env": {_VISIBLE: visible[number].strip()} if gpus else {}}}
        for number in range(workers)
    }
    quiet: Any = logging.ERROR  # a level, though it is typed as yes or no
    # Else a worker that needs longer to start anew is given up for good.
    with configured({"distributed.deploy.lost-worker-timeout": "1 day"}), ExitStack() as stack:
        with _interrupts_held():
            cluster = stack.enter_context(
                SpecCluster(workers=spec, scheduler=scheduler, security=security, silence_logs=quiet)
            )
            client = stack.enter_context(Client(cluster))
        yield client


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C reaches this thread when the block has ended, and no thread or process that the block starts, ever.

    A terminal sends it to all processes; those of a cluster would each print a traceback, and are ended by this one.
    """
    # It is started with the first process, and would lift the mask of the thread that starts it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dashboard(client: Client) -> str | None:
    """Where the dashboard is; None where the scheduler's machine lacks bokeh, which shows it."""
    asked: Any = client  # distributed types its calls for both kinds of clients
    if asked.run_on_scheduler(find_spec, "bokeh") is None:
        return None
    return str(asked.dashboard_link)


@contextmanager
def scheduler_needed() -> Iterator[None]:
    """Context in which the loss of the scheduler is one line.

    Raises:
        SpaceClipError: It was lost.
    """
    try:
        yield
    except (CommClosedError, FutureCancelledError, TimeoutError, OSError) as error:
        raise SpaceClipError(
            f"the scheduler was lost ({type(error).__name__}); what is saved is safe: start it, and run the same "
            "command again to go on"
        ) from error
