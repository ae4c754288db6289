"""The extraction run on a Dask cluster: shards as tasks, one process a GPU, the model loaded in the worker."""

import ctypes
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from dask.system import CPU_COUNT
from distributed import Client, WorkerPlugin, get_worker
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from ..cache import Location, SpaceClipError, StoreSpec, StoreWriter
from ..cache.layout import arrays
from .backbone import Backbone, BackboneSettings, load_backbone
from .blocks import shard_blocks
from .data import AnyData, open_splits
from .flight import OVERDUE_SECONDS, Flight
from .run import Fill, write_shard
from .samples import OnError
from .settings import ExtractSettings
from .sources import Source
from .stages import Ceilings, Stages, together
from .work import NOTHING, Known, Work, donors

PLUGIN = "spaceclip-extract"

SHARES = "SPACECLIP_WORKERS_HERE"
"""Environment variable: how many workers share this machine's cores."""

# Each worker computes one shard while it writes the one before it, and has the next at hand, and one more: there are
# always a few to submit at once, which takes a third less than to submit each alone.
THREADS = 2
_AHEAD = 4
# What is written is held once more as the bytes of its objects.
_HELD = THREADS + 1
_MOST_HELD = 0.5
_UNREGISTER_SECONDS = 5
# M_MMAP_THRESHOLD, the most that glibc allows, and M_TRIM_THRESHOLD.
_MALLOPT = {-3: 2**25, -1: 2**30}

Watch = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Job:
    """What a worker must know to extract shards of one split; small, and the same for all workers.

    Attributes:
        folder: Where the run was started; relative paths are meant from there.
        data: The data set, whose files the workers see under the same paths.
        split: Name of the split.
        backbone: The frozen encoder.
        device: Where the worker computes; `auto` takes its GPU, if it has one.
        settings: Batch size and threads.
        spec: What the store holds.
        store: The store's folder, seen by all workers under this path.
        on_error: What to do with a sample that cannot be used.
    """

    folder: Path
    data: AnyData
    split: str
    backbone: BackboneSettings
    device: str
    settings: ExtractSettings
    spec: StoreSpec
    store: Location
    on_error: OnError = "stop"


class ShardWorker(WorkerPlugin):
    """A Dask worker plugin that opens source, encoder and store once, and then extracts shards.

    Args:
        job: What to extract.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def __getstate__(self) -> Job:
        return self._job

    def __setstate__(self, job: Job) -> None:
        self._job = job

    def setup(self, worker: Any) -> None:
        """Called on each worker when it starts or joins; the encoder is loaded by the first shard, not here."""
        if self._job.folder.is_dir():
            os.chdir(self._job.folder)
        self._memory: int | None = worker.memory_manager.memory_limit
        self._computing, self._opening = threading.Lock(), threading.Lock()
        # However many threads the worker was given, no more blocks than these are held at once.
        self._turns = threading.BoundedSemaphore(THREADS)
        self._ended, self._donor = threading.Event(), donors()
        self._stages = Stages(self._job.settings.threads)
        self._threads = max(1, CPU_COUNT // max(1, int(os.environ.get(SHARES, "1"))))

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends: what is under way stops after its batch, and commits no more."""
        self._ended.set()

    def extract(self, shard: int, known: Known = NOTHING) -> None:
        """Compute and commit one shard; doing it twice, also at once, gives the same bytes and the same record.

        Args:
            shard: Index of the shard.
            known: What of it is known already.

        Raises:
            SpaceClipError: A file cannot be used, the worker sees other files than the run, or writing fails.
            InterruptedError: The run has ended.
        """
        with self._turns:
            with self._opening:
                source, backbone, writer = self._opened
            kept, rows = known
            work = Work(self._job.spec, [shard], {shard: kept} if kept else {}, rows, self._donor)
            with self._computing:
                settings, on_error = self._job.settings, self._job.on_error
                (filled,) = shard_blocks(
                    source, backbone, work, settings, self._go_on, on_error=on_error, stages=self._stages
                )
            self._go_on()
            write_shard(writer, work, filled, self._stages)

    @property
    def ceilings(self) -> Ceilings | None:
        """How fast this worker was until now."""
        return self._stages.ceilings()

    def _go_on(self, _done: int = 0) -> None:
        if self._ended.is_set():
            raise InterruptedError("the run has ended")

    def _check_memory(self) -> None:
        spec = self._job.spec
        image = sum(math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize for array in arrays(spec).values())
        held = _HELD * image * spec.shard
        if self._memory and held > _MOST_HELD * self._memory:
            raise SpaceClipError(
                f"worker {os.uname().nodename}: it may use {self._memory / 1e9:.1f} GB of memory, and shards under way "
                f"take {held / 1e9:.1f} GB of it beside the encoder: give it {held / _MOST_HELD / 1e9:.1f} GB "
                "(`dask worker --memory-limit`), or extract with fewer images a shard (`shard`)"
            )

    @cached_property
    def _opened(self) -> tuple[Source, Backbone, StoreWriter]:
        import torch

        self._check_memory()
        _keep_freed_memory()
        job = self._job
        device = job.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            torch.set_num_threads(self._threads)
        sources = open_splits(job.data)
        source = sources[job.split] if job.split in sources else sources["train"]
        if list(source.entries) != list(job.spec.entries):
            raise SpaceClipError(
                f"worker {os.uname().nodename}: its files of the {job.split} split are not those of the run: "
                "give all workers the same data under the same paths"
            )
        settings = job.backbone
        backbone = load_backbone(
            settings.name,
            revision=settings.revision,
            seed=settings.seed,
            precision=settings.precision,
            device=torch.device(device),
        )
        if backbone.identity != job.spec.backbone:
            raise SpaceClipError(
                f"worker {os.uname().nodename}: its encoder is {backbone.identity}, "
                f"the run's {dict(job.spec.backbone)}: "
                "name the precision, and use one kind of machine"
            )
        return source, backbone, StoreWriter(job.store, job.spec, {})


def _keep_freed_memory() -> None:
    """Undo what Dask asks of the C library for its workers, which is to give each buffer back as soon as it is free.

    The encoder frees many megabytes at each step: having them mapped again costs a third to a half of its speed.
    """
    with suppress(AttributeError, OSError):  # a C library without mallopt has not been asked either
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in _MALLOPT.items():
            mallopt(option, size)


def extract_shard(run: str, shard: int, known: Known) -> None:
    """The task: extract a shard on this worker. No reply, since none is fetched: that it ended says all."""
    worker = get_worker()
    plugin = worker.plugins[run]
    assert isinstance(plugin, ShardWorker)
    plugin.extract(shard, known)
    if ceilings := plugin.ceilings:
        worker.log_event(run, {"worker": worker.address, "ceilings": asdict(ceilings)})


def fill_on(
    client: Client,
    data: AnyData,
    split: str,
    backbone: BackboneSettings,
    device: str,
    settings: ExtractSettings,
    on_error: OnError = "stop",
    workers: Callable[[int], None] = lambda _count: None,
    say: Callable[[str], None] = lambda _line: None,
) -> Fill:
    """The `fill` of `extract` that runs on a cluster; `workers` is told how many there are now, `say` what is odd."""

    def fill(writer: StoreWriter, work: Work, progress: Callable[[int], None]) -> Ceilings | None:
        def watch(done: int, _total: int, count: int) -> None:
            writer.still_ours()
            workers(count)
            progress(done)

        store = writer.path.resolve() if isinstance(writer.path, Path) else writer.path
        job = Job(Path.cwd(), data, split, backbone, device, settings, writer.spec, store, on_error)
        return extract_on_cluster(client, job, work, watch, say=say)

    return fill


def extract_on_cluster(
    client: Client,
    job: Job,
    work: Work,
    watch: Watch,
    *,
    say: Callable[[str], None] = lambda _line: None,
    overdue_seconds: float = OVERDUE_SECONDS,
) -> Ceilings | None:
    """Extract shards on whatever workers there are, now or later; with none, wait for some.

    Args:
        client: Of the cluster.
        job: What to extract; the store has been laid out.
        work: Shards that have no record yet, and what of them is known.
        watch: Called with (images done, images in all, workers) whenever shards are done, and each second.
        say: Told in a line of workers that seem to hang.
        overdue_seconds: See `Flight`.

    Returns:
        How fast the workers were, by what each has said last; None if nothing was computed.

    Raises:
        SpaceClipError: A worker met bad input, a shard failed again and again, or the scheduler was lost. What is
            committed until then is kept.
    """
    # Another run on the same cluster, of this store or another, must not take this one's place.
    run = f"{PLUGIN}-{job.spec.fingerprint}-{uuid4().hex[:8]}"
    waiting, done, start = deque(work.shards), 0, time.perf_counter()
    flight = Flight(client, run, extract_shard, work.known_of, say, overdue_seconds)
    try:
        with _scheduler_needed():
            _register(client, ShardWorker(job), run)
        while waiting or flight.open:
            with _scheduler_needed():
                workers = max(1, flight.able)
                room = _AHEAD * workers - len(flight.open)
                if room >= workers:
                    flight.begin([waiting.popleft() for _ in range(min(len(waiting), room))])
                done += sum(len(work.rows(shard)) for shard in flight.done())
            watch(done, work.images, flight.workers)
        with _scheduler_needed():
            told: Any = client.get_events(run)
    finally:
        flight.release()
        _unregister(client, run)
    last = {event["worker"]: Ceilings(**event["ceilings"]) for _, event in told}
    return together(list(last.values()), done, time.perf_counter() - start)


@contextmanager
def _scheduler_needed() -> Iterator[None]:
    try:
        yield
    except (CommClosedError, FutureCancelledError, TimeoutError, OSError) as error:
        raise SpaceClipError(
            f"the scheduler was lost ({type(error).__name__}); committed shards are safe: start it, and run the same "
            "command again to go on"
        ) from error


def _register(client: Any, plugin: ShardWorker, run: str) -> None:
    try:
        client.register_plugin(plugin, name=run)
    except (ImportError, AttributeError, TypeError) as error:
        raise SpaceClipError(
            f"a worker cannot load this version of spaceclip ({type(error).__name__}: {error}): install the same one "
            "on all workers and start them anew"
        ) from error


def _unregister(client: Any, run: str) -> None:
    """Have the workers stop what is under way and forget the encoder; a worker that hangs is not waited for."""
    if client.status == "running":
        with suppress(Exception):
            client.sync(client.scheduler.unregister_worker_plugin, name=run, callback_timeout=_UNREGISTER_SECONDS)
