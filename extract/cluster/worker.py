"""What a worker of a Dask cluster does: it opens source, encoder and store once, and extracts shard after shard."""

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dask.system import CPU_COUNT
from distributed import WorkerPlugin, get_worker

from ...cache import (
    GROUP,
    Location,
    Quarantined,
    SpaceClipError,
    StoreError,
    StoreSpec,
    StoreWriter,
    arrays,
    entries_digest,
    place_at,
    record_key,
)
from ..encode import Filled, shard_blocks
from ..engine import write_shard
from ..malloc import keep_freed_memory
from ..remaining import NOTHING, Known, Work, donors
from ..samples import OnError
from ..settings import ExtractSettings
from ..sources.data_settings import AnyData, open_splits
from ..sources.source import Source
from ..stages import Ceilings, Stages
from ..towers import Backbone, BackboneSettings, default_batch, load_backbone
from .environment import Chosen, device_here, environment_here
from .worker_pool import ShardFailedError, WorkerUnfitError

REPORT_SECONDS = 0.5
"""A worker says no more often how far a shard is."""

# Each worker computes one shard while it writes the one before it.
THREADS = 2
# What is written is held once more as the bytes of its objects.
_HELD = THREADS + 1
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
    """

    def __init__(self, job: Job) -> None:
        # A worker lists the samples itself: millions of them would be kept by the scheduler, and sent to each worker.
        self._job = replace(job, spec=replace(job.spec, entries=()))
        self._samples: str = job.spec.identity["samples"]["sha256"]

    def __getstate__(self) -> tuple[Job, str]:
        return self._job, self._samples

    def __setstate__(self, state: tuple[Job, str]) -> None:
        self._job, self._samples = state

    def setup(self, worker: Any) -> None:
        """Called on each worker when it starts or joins; the encoder is loaded by the first shard, not here."""
        self._memory: int | None = worker.memory_manager.memory_limit
        self._computing, self._opening = threading.Lock(), threading.Lock()
        # However many threads the worker was given, no more blocks than these are held at once.
        self._turns = threading.BoundedSemaphore(THREADS)
        self._ended, self._donor = threading.Event(), donors()
        self._sharing = self._job.chosen.sharing_here()
        threads = self._job.settings.threads_here(self._sharing)
        self._settings = self._job.settings.model_copy(update={"threads": threads})
        self._stages = Stages(threads)

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends: what is under way stops after its batch, and commits no more."""
        self._ended.set()

    def extract(self, shard: int, known: Known = NOTHING, progress: Callable[[int], None] = lambda _done: None) -> None:
        """Compute and commit one shard; doing it twice, also at once, gives the same bytes and the same record.

        Args:
            shard: Index of the shard.
            known: What of it is known already.
            progress: Called with its images that are computed, after each batch.

        Raises:
            WorkerUnfitError: The worker sees other files than the run, has another encoder, or too little memory.
            SpaceClipError: A file cannot be used, or writing fails.
            InterruptedError: The run has ended.
        """
        with self._turns:
            with self._opening:
                source, backbone, writer = self._opened
            kept, rows = known
            work = Work(writer.spec, [shard], {shard: kept} if kept else {}, rows, self._donor)
            with self._computing:
                filled = self._filled(source, backbone, work, progress)
            self._go_on()
            # Another may have done it while this one hung; on unlike hardware, objects and record would be of two.
            if writer.place.exists(record_key(shard)):
                return
            try:
                write_shard(writer, work, filled, self._stages)
            except StoreError:
                self._go_on()  # that the run has ended is no fault of the store
                raise

    @property
    def ceilings(self) -> Ceilings | None:
        """How fast this worker was until now."""
        return self._stages.ceilings()

    def _go_on(self, _done: int = 0) -> None:
        if self._ended.is_set():
            raise InterruptedError("the run has ended")

    def _filled(self, source: Source, backbone: Backbone, work: Work, progress: Callable[[int], None]) -> Filled:
        settings, on_error = self._settings, self._job.on_error

        def report(done: int) -> None:
            self._go_on()
            progress(done)

        try:
            (filled,) = shard_blocks(source, backbone, work, settings, report, on_error=on_error, stages=self._stages)
        except SpaceClipError as error:
            if not isinstance(error.__cause__, MemoryError | RuntimeError):
                raise
            # Memory that runs out here may be enough elsewhere: it is a failure as any other, to be tried again.
            raise RuntimeError(str(error)) from error
        bad = tuple(map(self._as_named, filled.quarantined))
        return filled._replace(quarantined=bad)

    def _as_named(self, sample: Quarantined) -> Quarantined:
        """The sample with the file's name as the run gives it, so that the record is that of a single process."""
        folder = self._job.folder
        return sample if folder is None else replace(sample, reason=sample.reason.replace(f"{folder}/", ""))

    @cached_property
    def _opened(self) -> tuple[Source, Backbone, StoreWriter]:
        """All that the run has opened before: what is wrong with it is wrong here alone."""
        try:
            environment_here(self._job.device, self._job.backbone.precision).require(self._job.chosen.environment)
            self._check_memory()
            keep_freed_memory()
            source = self._source()
            return source, self._backbone(), self._writer(source)
        except SpaceClipError as error:
            raise WorkerUnfitError(f"worker {os.uname().nodename}: {error}") from error

    def _check_memory(self) -> None:
        spec = self._job.spec
        image = sum(math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize for array in arrays(spec).values())
        held = _HELD * image * spec.shard
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
        settings, device = self._job.backbone, device_here(self._job.device)
        if device.type == "cpu":
            torch.set_num_threads(max(1, CPU_COUNT // self._sharing))
        backbone = _loaded(**dict(settings), device=device)
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
        return StoreWriter(store, spec, {}, self._go_on, records={})


_loaded = lru_cache(maxsize=1)(load_backbone)


class EncoderKeeper(WorkerPlugin):
    """A Dask worker plugin: while it is there, the encoder that was loaded last serves the next split too."""

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends."""
        _loaded.cache_clear()


def choose_batch(settings: BackboneSettings, device: str, layers: Sequence[int], views: int) -> int:
    """A task: how many images this worker's device is best given at once (see `default_batch`)."""
    return default_batch(_loaded(**dict(settings), device=device_here(device)), layers, views)


def images_topic(run: str) -> str:
    """Where workers say of a shard that is under way how many of its images are computed."""
    return f"{run}/images"


def extract_shard(run: str, shard: int, known: Known) -> None:
    """The task: extract a shard on this worker. No reply, since none is fetched: that it ended says all.

    Raises:
        ShardFailedError: Names the worker, which is known to it alone.
    """
    worker, said = get_worker(), time.monotonic()

    def progress(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            worker.log_event(images_topic(run), (shard, done))

    try:
        plugin = worker.plugins[run]
        assert isinstance(plugin, ShardWorker)
        plugin.extract(shard, known, progress)
    except Exception as error:
        raise ShardFailedError(worker.address, error) from error
    if ceilings := plugin.ceilings:
        worker.log_event(run, {"worker": worker.address, "ceilings": asdict(ceilings)})
