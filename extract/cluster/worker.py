"""What a worker of a Dask cluster does: it opens source, encoder and store once, and extracts shard after shard."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from dask.system import CPU_COUNT
from distributed import WorkerPlugin, get_worker, secede

from ...cache import (
    GROUP,
    SpaceClipError,
    StoreSpec,
    StoreWriter,
    entries_digest,
    first_line,
    keep_freed_memory,
    place_at,
    size_text,
)
from ...cache.cluster import MachineError, TaskFailedError, WorkerUnfitError
from ..engine import Engine, device_of, held_bytes
from ..reading import HangingError
from ..remaining import Known, Work, donors
from ..sources.data_settings import open_splits
from ..sources.source import Source
from ..towers import Backbone
from .encoders import encoder_here
from .environment import environment_here
from .job import Job
from .sink import SharedSink

REPORT_SECONDS = 0.5
"""A worker says no more often how far a shard is."""

AT_ONCE = 4
"""Tasks that a worker has under way: its engine begins the next ones while it ends one."""

_MOST_HELD = 0.5


class ShardWorker(WorkerPlugin):
    """A Dask worker plugin that opens source, encoder and store once, and then extracts shards.

    Args:
        job: What to extract.
        run: Name of the run, and of what it says: how many images of a task are computed, as (task, images); how fast
            a worker was, as (address, receipt); and lines that a user should know.
    """

    def __init__(self, job: Job, run: str) -> None:
        # A worker lists the samples itself: millions of them would be kept by the scheduler, and sent to each worker.
        self._job = replace(job, spec=replace(job.spec, entries=()))
        self._samples: str = job.spec.identity["samples"]["sha256"]
        self._run = run

    def setup(self, worker: Any) -> None:
        """Called on each worker when it starts or joins; the encoder is loaded by the first shard, not here."""
        self._worker = worker
        self._opening, self._ended, self._donor = threading.Lock(), threading.Event(), donors()
        self._sharing = self._job.chosen.sharing_here()
        self._engine: Engine | None = None

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends: what is under way stops after its batch, and commits no more."""
        self._ended.set()
        if self._engine:
            self._engine.end()

    def extract(self, shards: Mapping[int, Known], elsewhere: bool = False) -> None:
        """Compute and commit shards; doing it twice, also at once, gives the same bytes and the same records.

        Args:
            shards: What of each is known already. The first names them, where it is said how far they are.
            elsewhere: Whether another worker has them if this machine's files fail: then no sample is quarantined for
                that.

        Raises:
            WorkerUnfitError: The worker computes with something else than the run, sees other files, has another
                encoder or too little memory, or its device has failed.
            MachineError: Files of this machine fail.
            SpaceClipError: A file cannot be used.
            InterruptedError: The run has ended.
        """
        with self._opening:
            self._go_on()
            engine, sink, spec = self._opened
        # What was begun anew may be half done.
        left = [shard for shard in shards if not sink.committed(shard)]
        kept = {shard: known[0] for shard in left if (known := shards[shard])[0]}
        rows = {row: place for shard in left for row, place in shards[shard][1].items()}
        work, said = Work(spec, left, kept, rows, donor=self._donor), time.monotonic()
        is_fatal = _is_the_machines if elsewhere else lambda _error: False
        under_way = [engine.submit(work, shard, is_fatal) for shard in left]

        def watch() -> None:
            nonlocal said
            self._go_on()
            if time.monotonic() - said > REPORT_SECONDS:
                said = time.monotonic()
                self._say((min(shards), sum(shard.images for shard in under_way)))

        try:
            engine.wait(under_way, watch)
        except Exception as error:
            self._go_on()  # that the run has ended is no fault of device or store
            if engine.error:
                raise _unfit(error) from error
            if _is_the_machines(error):
                raise MachineError(str(error)) from error
            raise
        if receipt := engine.receipt():
            self._say((self._worker.address, asdict(replace(receipt, cores=max(1, CPU_COUNT // self._sharing)))))

    def _say(self, what: Any) -> None:
        self._worker.log_event(self._run, what)

    def _go_on(self) -> None:
        if self._ended.is_set():
            raise InterruptedError("the run has ended")

    @cached_property
    def _opened(self) -> tuple[Engine, SharedSink, StoreSpec]:
        """All that the run has opened before: what is wrong with it is wrong here alone."""
        job, threads = self._job, self._job.settings.threads_here(self._sharing)
        try:
            environment_here(job.device, job.backbone.precision).require(job.chosen.environment)
            self._check_memory(held_bytes(job.spec, job.spec.computed["batch"], threads))
            keep_freed_memory()
            source, backbone = self._source(), self._backbone()
            writer = self._writer(source)
            sink = SharedSink(writer, job.folder)
            self._engine = Engine(
                *(source, device_of(backbone, writer.spec), writer.spec, sink),
                batch=writer.spec.computed["batch"],
                threads=threads,
                on_error=job.on_error,
                say=lambda line: self._say(f"{self._worker.address}: {line}"),
            )
        except SpaceClipError as error:
            raise _unfit(error) from error
        return self._engine, sink, writer.spec

    def _check_memory(self, held: int) -> None:
        limit = self._worker.memory_manager.memory_limit
        if limit and held > _MOST_HELD * limit:
            raise SpaceClipError(
                f"it may use {size_text(limit)} of memory, and shards under way "
                f"take {size_text(held)} of it beside the encoder: give it {size_text(held / _MOST_HELD)} "
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
        wanted = self._job.spec.backbone
        # The run may name it by a relative path.
        if (found := {**backbone.identity, "name": wanted["name"]}) != wanted:
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


def _is_the_machines(error: BaseException) -> bool:
    """Whether an error may be one machine's alone: see `MachineError`."""
    return isinstance(error, HangingError) or (isinstance(error.__cause__, OSError) and bool(error.__cause__.errno))


def _unfit(error: BaseException) -> WorkerUnfitError:
    return WorkerUnfitError(f"worker {os.uname().nodename}: {first_line(error)}")


def extract_shards(run: str, _first: int, given: tuple[Mapping[int, Known], bool]) -> None:
    """The task: have the run's plugin on this worker extract shards. That it ended says all: no reply is fetched.

    Raises:
        TaskFailedError: Names the worker, which is known to it alone.
    """
    worker: Any = get_worker()
    try:
        if len(worker.state.long_running) < AT_ONCE - 1:
            secede()  # it waits: whatever threads the worker was given, it is given the next task too
        worker.plugins[run].extract(*given)
    except Exception as error:
        raise TaskFailedError(worker.address, error) from error
