"""Shards under way, and the batches that their rows are computed in."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...cache import POOLED, PlainObject, Quarantined, Record, ShardBuffer, SpaceClipError, layer_array, part_name
from ..remaining import Work


class ShardUnderWay:
    """One shard from the moment it is asked for until it is committed. Safe to use from many threads.

    Args:
        work: What of its store has yet to be computed.
        shard: Its index.
        is_fatal: Whether a bad sample ends it where bad samples are quarantined otherwise.

    Attributes:
        future: Its record, when it is committed; or why it is not.
        buffer: Its rows; there while it is under way.
        images: Images of it that are computed.
        missing: Parts of it that have to be written.
    """

    def __init__(
        self, work: Work, shard: int, is_fatal: Callable[[SpaceClipError], bool] = lambda _error: False
    ) -> None:
        self.work, self.shard, self.is_fatal = work, shard, is_fatal
        self.future: Future[Record] = Future()
        self.buffer: ShardBuffer | None = None
        self.images = 0
        self.missing: frozenset[str] = frozenset()
        self._bad: dict[int, str] = {}
        self._lock = threading.Lock()
        self._left = 0

    def begin(self) -> None:
        """Make room for its rows."""
        self.buffer = ShardBuffer(self.work.spec)
        self.missing = self.work.missing(self.shard)
        self._left = self.work.count(self.shard)

    @property
    def failed(self) -> bool:
        """Whether it will never be committed."""
        return self.future.done()

    def fail(self, error: BaseException) -> None:
        """End it; the first error counts."""
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)

    def succeed(self, record: Record) -> None:
        """End it well."""
        with self._lock:
            if not self.future.done():
                self.future.set_result(record)

    def is_bad(self, row: int, reason: str) -> None:
        """Note a row whose sample cannot be used."""
        with self._lock:
            self._bad[row] = reason

    def landed(self, images: int) -> bool:
        """Note rows that are computed; returns whether they were the last."""
        with self._lock:
            self.images += images
            self._left -= images
            return self._left == 0

    def put_sample(self, row: int, prepared: Mapping[str, NDArray[Any]]) -> None:
        """Put what needs no encoder of a row into its objects."""
        assert self.buffer is not None
        for name, values in prepared.items():
            if name in self.missing:
                self.buffer.put(name, row - self.start, values)

    def complete(self) -> None:
        """Put the rows that another store has, and zeros where a sample is bad.

        Raises:
            StoreError: A store that rows come from is damaged.
        """
        assert self.buffer is not None
        self.work.copy_known(self.shard, self.buffer)
        for row in self._bad:
            self.buffer.clear(self.missing, row - self.start)

    @property
    def views(self) -> list[str]:
        """Views of its images that are encoded."""
        spec = self.work.spec
        arrays = [POOLED, *map(layer_array, spec.layers)]
        return [view for view in spec.views if any(part_name(array, view) in self.missing for array in arrays)]

    @property
    def start(self) -> int:
        """Its first row."""
        return self.work.spec.rows(self.shard)[0]

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """The bad rows."""
        entries = self.work.spec.entries
        return tuple(Quarantined(row, entries[row].id, self._bad[row]) for row in sorted(self._bad))


class Cell(NamedTuple):
    """Rows that go into one batch.

    Attributes:
        key: Of the batch, unlike that of any other of the store.
        size: Images of the batch when it is whole.
        rows: Place in the batch and row of the store, of the rows of one shard that are to be computed.
    """

    key: Any
    size: int
    rows: list[tuple[int, int]]


def cells(work: Work, shard: int, batch: int) -> Iterator[Cell]:
    """The batches of a shard's rows.

    Batches are the cells of a fixed grid over the store's rows, whatever the shard's size: row r has place r % batch of
    batch r // batch in every run, so that an interrupted run goes on with the very bits that it would have had. Where
    rows are known already and scattered, the others are closed up within the shard. A shard without any to compute has
    one empty cell, so that every shard has a batch.
    """
    rows = work.rows(shard)
    start, stop = work.spec.rows(shard)
    if not rows:
        yield Cell((shard, 0), 0, [])
    elif len(rows) < stop - start:
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            yield Cell((shard, first), len(part), list(enumerate(part)))
    else:
        images = len(work.spec.entries)
        for first in range(start - start % batch, stop, batch):
            inside = range(max(first, start), min(first + batch, stop))
            yield Cell(first, min(batch, images - first), [(row - first, row) for row in inside])


class Run(NamedTuple):
    """Rows that follow one another in a batch and in a shard.

    Attributes:
        shard: The shard.
        slots: Where they are in the batch.
        rows: Where they go in the shard.
    """

    shard: ShardUnderWay
    slots: slice
    rows: slice

    @property
    def wanted(self) -> frozenset[str]:
        """Parts that the shard lacks; none where it has failed."""
        return frozenset() if self.shard.failed else self.shard.missing

    @property
    def features(self) -> dict[str, PlainObject]:
        """The shard's room for features."""
        assert self.shard.buffer is not None
        return self.shard.buffer.features

    def clipped(self, first: int, stop: int) -> "Run | None":
        """What of it is within some images of the batch, counted from the first of those; None where nothing is."""
        low, high = max(self.slots.start, first), min(self.slots.stop, stop)
        if low >= high:
            return None
        offset = self.rows.start - self.slots.start
        return Run(self.shard, slice(low - first, high - first), slice(low + offset, high + offset))


@dataclass
class Batch:
    """Images that are encoded at once.

    Attributes:
        key: Of its cell.
        size: Images of the cell; black where none is wanted.
        images: [B, S, S, 3] uint8, B at least `size`.
        runs: What goes where.
        decoding: Is set, each, when an image was decoded.
        shards: Whose rows it has.
    """

    key: Any
    size: int
    images: NDArray[np.uint8]
    runs: list[Run] = field(default_factory=list)
    decoding: list[threading.Event] = field(default_factory=list)
    shards: list[ShardUnderWay] = field(default_factory=list)

    def add(self, shard: ShardUnderWay, rows: list[tuple[int, int]]) -> None:
        """Add rows of a shard."""
        self.shards.append(shard)
        start = shard.start
        for slot, row in rows:
            at = row - start
            last = self.runs[-1] if self.runs else None
            if last and last.shard is shard and (last.slots.stop, last.rows.stop) == (slot, at):
                self.runs[-1] = Run(shard, slice(last.slots.start, slot + 1), slice(last.rows.start, at + 1))
            else:
                self.runs.append(Run(shard, slice(slot, slot + 1), slice(at, at + 1)))
