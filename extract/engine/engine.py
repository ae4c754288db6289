"""The extraction engine: list -> decode -> batch -> device -> land -> hash and write, all at once.

Each stage has its threads, and takes what it needs from a queue or a pool of buffers of fixed size; so memory is
bounded whatever is slow, and what binds is the slowest stage alone.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...cache import SpaceClipError, StoreSpec, is_out_of_memory
from ..reading import LOOK_SECONDS, Readers
from ..remaining import Work
from ..samples import Block, OnError, pixel_bytes, prepare_sample
from ..sources.source import Loader
from ..threads import Channel, Closed, Threads
from ..towers import device_lost, is_device_lost
from .buffers import Buffers
from .device import HostDevice, Landing
from .receipt import DECODE, ENCODE, WRITE, Meter, Receipt
from .shards import Batch, Run, ShardUnderWay, cells
from .sinks import Sink

_COMMITTING = 2
"""Shards whose objects are written at once: the next begins while the last objects of one are on their way."""
_END_SECONDS = 5.0


class Engine:
    """Extracts shards; it lives as long as there may be more of them.

    Args:
        source: The samples.
        device: The encoder's.
        spec: What the store holds.
        sink: Where shards go.
        batch: Images that are encoded at once.
        threads: Threads that decode.
        on_error: What to do with a sample that cannot be used.
        say: Called with a line that a user should know.
        trace: Whether to keep what each thread did when (`meter.spans`).

    Attributes:
        images: Images computed until now.
        meter: What the stages did.
    """

    def __init__(
        self,
        source: Loader,
        device: HostDevice,
        spec: StoreSpec,
        sink: Sink,
        *,
        batch: int,
        threads: int,
        on_error: OnError = "stop",
        say: Callable[[str], None] = lambda _line: None,
        trace: bool = False,
    ) -> None:
        self._source, self._device, self._spec, self._sink = source, device, spec, sink
        self._batch, self._piece, self._on_error, self._say = batch, batch, on_error, say
        self.images = 0
        self.meter = Meter({DECODE: threads, ENCODE: 1, WRITE: sink.writers}, device.kind, trace=trace)
        self._change = threading.Condition()
        self._open: set[ShardUnderWay] = set()
        self._error: BaseException | None = None
        self._shards: Channel[ShardUnderWay] = Channel()
        self._batches: Channel[Batch] = Channel()
        self._landings: Channel[tuple[Batch, list[Landing]]] = Channel()
        self._filled: Channel[ShardUnderWay] = Channel()
        self._buffers = Buffers(device, spec, batch, threads)
        busy = self.meter.stages[DECODE].busy
        self._decoding = Readers(threads, "decode", pixel_bytes=pixel_bytes(spec), busy=busy, say=say)
        self._writing = Threads(sink.writers, "write", self.meter.stages[WRITE].busy)
        self._threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=name, daemon=True)
            for name, stage in (
                ("list", self._list),
                ("encode", self._encode),
                ("land", self._land),
                *[(f"commit-{number}", self._commit) for number in range(_COMMITTING)],
            )
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self, work: Work, shard: int, is_fatal: Callable[[SpaceClipError], bool] = lambda _error: False
    ) -> ShardUnderWay:
        """Have a shard extracted, after those that were submitted before.

        Args:
            work: What is known of the shard.
            shard: Its index.
            is_fatal: Whether a bad sample ends it where bad samples are quarantined otherwise.
        """
        under_way = ShardUnderWay(work, shard, is_fatal)
        self.meter.begin()
        with self._change:
            if self._error:
                under_way.fail(self._error)
            else:
                self._open.add(under_way)
                under_way.future.add_done_callback(lambda _future: self._ended(under_way))
        with suppress(Closed):
            self._shards.put(under_way)
        return under_way

    def wait(self, shards: Iterable[ShardUnderWay], watch: Callable[[], None] = lambda: None) -> None:
        """Return when shards are committed.

        Args:
            shards: In the order in which they were submitted.
            watch: Called when images were computed, and several times a second; it may raise.

        Raises:
            SpaceClipError: The first that failed did so by it; those before it are committed.
        """
        for shard in shards:
            while not shard.future.done():
                with self._change:
                    self._change.wait(LOOK_SECONDS)
                self._decoding.look()
                watch()
            shard.future.result()
        watch()

    @property
    def error(self) -> BaseException | None:
        """Why it ended, if it has."""
        return self._error

    def end(self) -> None:
        """Have it end, without waiting for that; what is under way and not committed is dropped."""
        self._end(InterruptedError("the run has ended"))

    def close(self) -> None:
        """End. Threads that hang in a read are left behind."""
        self.end()
        deadline = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            # A process must not end while PyTorch computes; on anything else it may.
            thread.join(None if thread.name == "encode" else max(0.0, deadline - time.monotonic()))

    def receipt(self) -> Receipt | None:
        """How fast it was until now."""
        return self.meter.receipt()

    def _end(self, error: BaseException) -> None:
        with self._change:
            self._error = self._error or error
            left = list(self._open)
        for shard in left:
            shard.fail(error)
        for queue in (self._shards, self._batches, self._landings, self._filled, self._buffers):
            queue.close()
        self._decoding.close()
        self._writing.shutdown()

    def _guarded(self, stage: Callable[[], None]) -> None:
        """A stage that fails ends the run."""
        try:
            stage()
        except Closed:
            pass
        except BaseException as error:
            # Wherever it shows: what fails on a card may be noticed by whoever asks it next.
            self._end(device_lost(self._device.name, error) if is_device_lost(error) else error)

    def _ended(self, shard: ShardUnderWay) -> None:
        with self._change:
            self._open.discard(shard)
            self._change.notify_all()

    # The stages, each in a thread of its own.

    def _list(self) -> None:
        """Gather rows into batches and have them decoded, as far ahead as there are buffers for images."""
        batch: Batch | None = None
        while True:
            if batch and not len(self._shards):
                # Nothing that could join it is at hand, and who submits shards may wait for this one.
                self._batches.put(batch)
                batch = None
            shard = self._shards.get()
            if shard.failed:
                continue
            shard.begin()
            for cell in cells(shard.work, shard.shard, self._batch):
                if batch and batch.key != cell.key:
                    self._batches.put(batch)
                    batch = None
                if batch is None:
                    batch = Batch(cell.key, cell.size, self._buffers.images.get())
                    batch.images[:] = 0
                batch.add(shard, cell.rows)
                for slot, row in cell.rows:
                    batch.decoding.append(self._decode(shard, row, batch.images[slot]))

    def _decode(self, shard: ShardUnderWay, row: int, image: NDArray[np.uint8]) -> threading.Event:
        """Have a sample decoded, into a batch's images and a shard's objects."""

        def put(sample: Block) -> None:
            image[:] = sample["image"]
            shard.put_sample(row, sample)

        def failed(error: BaseException) -> None:
            if self._on_error == "quarantine" and isinstance(error, SpaceClipError) and not shard.is_fatal(error):
                shard.is_bad(row, str(error))
            else:
                shard.fail(error)

        read = partial(prepare_sample, self._source, self._spec, row)
        return self._decoding.submit(read, self._spec.entries[row].id, put, failed, unless=lambda: shard.failed)

    def _encode(self) -> None:
        """Launch work on the device, and nothing else."""
        try:
            if chosen := self._device.prepare(self._batch):
                self._say(chosen)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._device.let_go()  # the plain call needs less
        for batch in self._batches:
            for decoded in batch.decoding:
                while not decoded.wait(LOOK_SECONDS):
                    if self._error:
                        raise Closed
            for shard in batch.shards:
                if shard.buffer and not shard.failed and not shard.buffer.features:
                    shard.buffer.features = self._buffers.take_features()
            self._landings.put((batch, self._encoded(batch)))

    def _encoded(self, batch: Batch) -> list[Landing]:
        """A batch under way on the device; in smaller ones from now on, where memory runs out."""
        while True:
            try:
                return [self._device.encode(*piece, self.meter.stages[ENCODE]) for piece in self._pieces(batch)]
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or not self._device.fixed or self._piece == 1:
                    raise
                # A divisor, so that these are the batches of a run that has had such ones from the start.
                smaller = next(size for size in range(self._piece // 2, 0, -1) if self._batch % size == 0)
                self._sink.batch_reduced(smaller, error)
            self._device.let_go()
            self._piece = smaller
            self._say(f"out of memory on {self._device.name}: going on with batches of {self._piece} images")

    def _pieces(self, batch: Batch) -> Iterator[tuple[NDArray[np.uint8], Sequence[Run]]]:
        """What of a batch is encoded at once: all of it, or less where memory ran out."""
        size = len(batch.images) if self._device.fixed else batch.size
        for first in range(0, size, self._piece):
            images = batch.images[first : min(first + self._piece, size)]
            runs = [clipped for run in batch.runs if (clipped := run.clipped(first, first + len(images)))]
            if any(run.wanted for run in runs):
                yield images, runs

    def _land(self) -> None:
        """Give buffers back when features have landed, and shards on when they are whole."""
        for batch, landings in self._landings:
            for landing in landings:
                landing.wait()
            self._buffers.images.put(batch.images)
            for shard in batch.shards:
                images = sum(run.rows.stop - run.rows.start for run in batch.runs if run.shard is shard)
                self.images += images
                if shard.landed(images):
                    self._filled.put(shard)
            with self._change:
                self._change.notify_all()

    def _commit(self) -> None:
        """Complete a shard and have it written."""
        for shard in self._filled:
            buffer = shard.buffer
            assert buffer is not None
            try:
                if not shard.failed:
                    shard.complete()
                    record = self._sink.write(shard, buffer, self._writing)
                    size = sum(record.objects[name].bytes for name in shard.missing)
                    self.meter.stored(shard.work.count(shard.shard), len(shard.views), size)
                    shard.succeed(record)
            except Closed:
                raise
            except BaseException as error:
                shard.fail(error)
            finally:
                shard.buffer = None
                if buffer.features:
                    with suppress(Closed):
                        self._buffers.features.put(buffer.features)
