"""What a worker of a Dask cluster does: it opens source, encoder and store once, and extracts shard after shard."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dask.system import CPU_COUNT
from distributed import WorkerPlugin, get_worker, secede

from ...cache import (
    GROUP,
    Location,
    SpaceClipError,
    StoreSpec,
    StoreWriter,
    entries_digest,
    place_at,
)
from ..decoding import HangingError
from ..engine import Engine, Receipt, device_of, held_bytes
from ..malloc import keep_freed_memory
from ..remaining import Known, Work, donors
from ..samples import OnError
from ..settings import ExtractSettings
from ..sources.data_settings import AnyData, open_splits
from ..sources.source import Source
from ..towers import Backbone, BackboneSettings
from .encoders import encoder_here
from .environment import Chosen, environment_here
from .sink import SharedSink
from .worker_pool import ShardFailedError, WorkerUnfitError

REPORT_SECONDS = 0.5
"""A worker says no more often how far a shard is."""

AT_ONCE = 4
"""Tasks that a worker has under way: its engine begins the next ones while it ends one."""

_MOST_HELD = 0.5


@dataclass(frozen=True)
class Job:
    """What a worker must know to extract shards of one split; the same for all workers.

    Attributes:
        data: The data set, whose files the workers see under the same paths, all absolute.
        split: Name of the split.
        backbone: The frozen encoder; a path is absolute.
        device: Where the worker computes; `auto` takes its GPU, if it has one.
        chosen: What all workers compute with.
        settings: Batch size and threads.
        spec: What the store holds.
        store: The store's folder, seen by all workers under this path.
        on_error: What to do with a sample that cannot be used.
        folder: What the run's own paths were relative to, so that records name files as it does; None if to nothing.
    """

    data: AnyData
    split: str
    backbone: BackboneSettings
    device: str
    chosen: Chosen
    settings: ExtractSettings
    spec: StoreSpec
    store: Location
    on_error: OnError = "stop"
    folder: Path | None = None


class ShardWorker(WorkerPlugin):
    """A Dask worker plugin that opens source, encoder and store once, and then extracts shards.

    Args:
        job: What to extract.
        run: Name of the run.
    """

    def __init__(self, job: Job, run: str) -> None:
        # A worker lists the samples itself: millions of them would be kept by the scheduler, and sent to each worker.
        self._job = replace(job, spec=replace(job.spec, entries=()))
        self._samples: str = job.spec.identity["samples"]["sha256"]
        self._run = run

    def __getstate__(self) -> tuple[Job, str, str]:
        return self._job, self._samples, self._run

    def __setstate__(self, state: tuple[Job, str, str]) -> None:
        self._job, self._samples, self._run = state

    def setup(self, worker: Any) -> None:
        """Called on each worker when it starts or joins; the encoder is loaded by the first shard, not here."""
        self._worker, self._memory = worker, worker.memory_manager.memory_limit
        self._opening, self._ended, self._donor = threading.Lock(), threading.Event(), donors()
        self._counting, self._under_way = threading.Lock(), 0
        self._sharing = self._job.chosen.sharing_here()
        self._threads = self._job.settings.threads_here(self._sharing)
        self._engine: Engine | None = None

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends: what is under way stops after its batch, and commits no more."""
        self._ended.set()
        if self._engine:
            self._engine.end()

    def extract(self, shards: Mapping[int, Known], progress: Callable[[int], None] = lambda _done: None) -> None:
        """Compute and commit shards; doing it twice, also at once, gives the same bytes and the same records.

        Args:
            shards: What of each is known already.
            progress: Called with how many of their images are computed, several times a second.

        Raises:
            WorkerUnfitError: The worker computes with something else than the run, sees other files, has another
                encoder or too little memory, or its device has failed.
            SpaceClipError: A file cannot be used, or writing fails.
            InterruptedError: The run has ended.
        """
        with self._opening:
            self._go_on()
            engine, sink, spec = self._opened
        # What was begun anew may be half done.
        left = [shard for shard in shards if not sink.committed(shard)]
        kept = {shard: known[0] for shard in left if (known := shards[shard])[0]}
        rows = {row: place for shard in left for row, place in shards[shard][1].items()}
        work = Work(spec, left, kept, rows, self._donor)
        under_way = [engine.submit(work, shard) for shard in left]

        def watch() -> None:
            self._go_on()
            progress(sum(shard.images for shard in under_way))

        try:
            engine.wait(under_way, watch)
        except HangingError as error:
            raise RuntimeError(str(error)) from error  # a mount that is gone here may be there elsewhere
        except Exception as error:
            self._go_on()  # that the run has ended is no fault of device or store
            if engine.error:
                raise self._unfit(error) from error
            raise

    @contextmanager
    def one_more(self) -> Iterator[int]:
        """Context of one task more; how many are under way with it."""
        with self._counting:
            self._under_way += 1
            count = self._under_way
        try:
            yield count
        finally:
            with self._counting:
                self._under_way -= 1

    @property
    def receipt(self) -> Receipt | None:
        """How fast this worker was until now."""
        found = self._engine and self._engine.receipt()
        return found and replace(found, cores=max(1, CPU_COUNT // self._sharing))

    def _go_on(self) -> None:
        if self._ended.is_set():
            raise InterruptedError("the run has ended")

    @cached_property
    def _opened(self) -> tuple[Engine, SharedSink, StoreSpec]:
        """All that the run has opened before: what is wrong with it is wrong here alone."""
        job = self._job
        try:
            environment_here(job.device, job.backbone.precision).require(job.chosen.environment)
            self._check_memory()
            keep_freed_memory()
            source, backbone = self._source(), self._backbone()
            writer = self._writer(source)
            sink = SharedSink(writer, job.folder)
            self._engine = Engine(
                *(source, device_of(backbone, writer.spec), writer.spec, sink),
                batch=writer.spec.computed["batch"],
                threads=self._threads,
                on_error=job.on_error,
                say=lambda line: self._worker.log_event(news_topic(self._run), f"{self._worker.address}: {line}"),
            )
        except SpaceClipError as error:
            raise self._unfit(error) from error
        return self._engine, sink, writer.spec

    def _unfit(self, error: BaseException) -> WorkerUnfitError:
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        return WorkerUnfitError(f"worker {os.uname().nodename}: {what}")

    def _check_memory(self) -> None:
        job = self._job
        held = held_bytes(job.spec, job.spec.computed["batch"], self._threads)
        if self._memory and held > _MOST_HELD * self._memory:
            raise SpaceClipError(
                f"it may use {self._memory / 1e9:.1f} GB of memory, and shards under way "
                f"take {held / 1e9:.1f} GB of it beside the encoder: give it {held / _MOST_HELD / 1e9:.1f} GB "
                "(`dask worker --memory-limit`), or extract with fewer images a shard (`shard`)"
            )

    def _source(self) -> Source:
        sources, split = open_splits(self._job.data), self._job.split
        source = sources[split] if split in sources else sources["train"]
        if entries_digest(source.entries) != self._samples:
            raise SpaceClipError(
                f"its files of the {split} split are not those of the run: "
                "give all workers the same data under the same paths"
            )
        return source

    def _backbone(self) -> Backbone:
        backbone = encoder_here(self._job.backbone, self._job.device, self._sharing)
        wanted = dict(self._job.spec.backbone)
        # The run may name it by a relative path.
        found = {**backbone.identity, "name": wanted["name"]}
        if found != wanted:
            raise SpaceClipError(
                f"its encoder is {found}, the run's {wanted}: give all workers the same encoder under the same path"
            )
        return backbone

    def _writer(self, source: Source) -> StoreWriter:
        spec, store = replace(self._job.spec, entries=source.entries), self._job.store
        if not place_at(store).exists(GROUP):
            raise SpaceClipError(f"the store {store} is not there: give all workers the same path to it")
        # What others have committed is looked up shard by shard.
        return StoreWriter(store, spec, {}, self._go_on, records={}, shared=True)


def news_topic(run: str) -> str:
    """Where workers say how many images of a task are computed, as (task, images), and what a user should know."""
    return f"{run}/news"


def extract_shards(run: str, first: int, shards: Mapping[int, Known]) -> None:
    """The task: extract shards on this worker. No reply, since none is fetched: that it ended says all.

    Args:
        run: Name of the plugin.
        first: Of the shards, by which the driver knows the task.
        shards: What of each is known already.

    Raises:
        ShardFailedError: Names the worker, which is known to it alone.
    """
    worker, said = get_worker(), time.monotonic()

    def progress(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            worker.log_event(news_topic(run), (first, done))

    try:
        plugin = worker.plugins[run]
        assert isinstance(plugin, ShardWorker)
        with plugin.one_more() as under_way:
            if under_way < AT_ONCE:
                secede()  # it waits: whatever threads the worker was given, it is given the next task too
            plugin.extract(shards, progress)
    except Exception as error:
        raise ShardFailedError(worker.address, error) from error
    if receipt := plugin.receipt:
        worker.log_event(run, {"worker": worker.address, "receipt": asdict(receipt)})
