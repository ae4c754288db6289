"""The extraction run on a Dask cluster: shards as tasks, one process a GPU, the model loaded in the worker."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distributed import Client, Future, WorkerPlugin, as_completed, get_worker
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from ..cache import Location, SpaceClipError, StoreSpec, StoreWriter
from .backbone import Backbone, BackboneSettings, load_backbone
from .blocks import Filled, shard_blocks
from .data import AnyData, open_splits
from .run import Fill
from .samples import OnError
from .settings import ExtractSettings
from .sources import Source
from .work import Work

PLUGIN = "spaceclip-extract"

SHARES = "SPACECLIP_WORKERS_HERE"
"""Environment variable: how many workers share this machine's cores."""

# Each worker computes one shard while it writes the one before it, and has the next at hand.
THREADS = 2
_AHEAD = 3
_RETRIES = 3
_LOOK_SECONDS = 1.0

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

    name = PLUGIN

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
        self._computing = threading.Lock()
        self._opening = threading.Lock()
        self._threads = max(1, (os.cpu_count() or 1) // max(1, int(os.environ.get(SHARES, "1"))))

    def extract(self, shard: int) -> int:
        """Compute and commit one shard; doing it twice gives the same bytes and the same record.

        Returns:
            Images in the shard.

        Raises:
            SpaceClipError: A file cannot be used, the worker sees other files than the run, or writing fails.
        """
        with self._opening:
            source, backbone, writer = self._opened
        with self._computing:
            (filled,) = self._filled(source, backbone, shard)
        writer.write(*filled)
        start, stop = self._job.spec.rows(shard)
        return stop - start

    def _filled(self, source: Source, backbone: Backbone, shard: int) -> Iterator[Filled]:
        job = self._job
        return shard_blocks(source, backbone, Work(job.spec, [shard]), job.settings, on_error=job.on_error)

    @cached_property
    def _opened(self) -> tuple[Source, Backbone, StoreWriter]:
        import torch

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


def extract_shard(shard: int) -> int | str:
    """The task: extract a shard on this worker; what a user has to mend comes back as text, and is not retried."""
    plugin = get_worker().plugins[PLUGIN]
    assert isinstance(plugin, ShardWorker)
    try:
        return plugin.extract(shard)
    except SpaceClipError as error:
        return str(error)


def fill_on(
    client: Client,
    data: AnyData,
    split: str,
    backbone: BackboneSettings,
    device: str,
    settings: ExtractSettings,
    on_error: OnError = "stop",
    workers: Callable[[int], None] = lambda _count: None,
) -> Fill:
    """The `fill` of `extract` that runs on a cluster; `workers` is told how many there are now."""

    def fill(writer: StoreWriter, work: Work, progress: Callable[[int], None]) -> None:
        def watch(done: int, _total: int, count: int) -> None:
            workers(count)
            progress(done)

        store = writer.path.resolve() if isinstance(writer.path, Path) else writer.path
        job = Job(Path.cwd(), data, split, backbone, device, settings, writer.spec, store, on_error)
        extract_on_cluster(client, job, work.shards, watch)

    return fill


def extract_on_cluster(client: Client, job: Job, pending: Sequence[int], watch: Watch) -> int:
    """Extract shards on whatever workers there are, now or later.

    Args:
        client: Of the cluster.
        job: What to extract; the store has been laid out.
        pending: Shards that have no record yet.
        watch: Called with (images done, images in all, workers).

    Returns:
        Images computed.

    Raises:
        SpaceClipError: A worker met bad input, a shard failed again and again, or the scheduler was lost. What is
            committed until then is kept.
    """
    client.register_plugin(ShardWorker(job))
    waiting, done = deque(pending), 0
    total = sum(stop - start for start, stop in map(job.spec.rows, pending))
    workers = _Workers(client)
    running: set[Future] = set()
    completed = as_completed()
    try:
        while waiting or running:
            for _ in range(min(len(waiting), _AHEAD * max(1, workers.count) - len(running))):
                task = client.submit(extract_shard, waiting.popleft(), retries=_RETRIES, pure=False)
                running.add(task)
                completed.add(task)
            for task in completed.next_batch():
                running.discard(task)
                found = task.result()
                if isinstance(found, str):
                    raise SpaceClipError(found)
                done += found
            watch(done, total, workers.count)
    except (CommClosedError, FutureCancelledError, TimeoutError, OSError) as error:
        raise SpaceClipError(
            f"the scheduler was lost ({type(error).__name__}); committed shards are safe: start it, and run the same "
            "command again to go on"
        ) from error
    finally:
        for task in running:
            task.release()
    return done


class _Workers:
    """How many workers there are, asked at most once a second."""

    def __init__(self, client: Any) -> None:  # distributed types its calls for both kinds of clients
        self._client, self._count, self._asked = client, 0, float("-inf")

    @property
    def count(self) -> int:
        now = time.monotonic()
        if now - self._asked > _LOOK_SECONDS:
            self._count, self._asked = len(self._client.nthreads()), now
        return self._count
