"""Batches of a store, read ahead by threads into buffers that are used again; shuffled by seed for training."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import StoreError
from .features import Features
from .fetch_ahead import Chunk, fetching_ahead
from .format.arrays import DEPTH, POOLED, layer_array, scales_array
from .format.shard import ShardedArray
from .reader import FeatureCache
from .shuffle import MIXED, Shuffle, shuffled

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray]

_BLOCK = 1 << 28
"""Bytes of memory that features are loaded into at once."""


@dataclass(frozen=True)
class Batch:
    """One batch. Its arrays are used again for a later batch: valid until as many more are asked for as `Batches` hold.

    Attributes:
        indices: Rows of the store, [B].
        flipped: Which of them are the flipped view, [B].
        states: Patch tokens by layer as they are stored, each [B, P, C], float16 or int8.
        scales: What int8 tokens are multiplied by, each [B, C] float32; none for float16.
        pooled: [B, C] float32.
        depth: [B, 1, H, W] counts of `unit`, uint16 or uint32, never mirrored, 0 where nothing was measured.
        unit: Metres of one count.
    """

    indices: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    states: dict[int, NDArray[np.float16 | np.int8]]
    scales: dict[int, NDArray[np.float32]]
    pooled: NDArray[np.float32]
    depth: NDArray[np.uint16 | np.uint32]
    unit: float

    def first(self, count: int) -> "Batch":
        """Its first samples, in the same memory."""
        if count == len(self.indices):
            return self
        return Batch(
            self.indices[:count],
            self.flipped[:count],
            {n: states[:count] for n, states in self.states.items()},
            {n: scales[:count] for n, scales in self.scales.items()},
            self.pooled[:count],
            self.depth[:count],
            self.unit,
        )


class Batches:
    """The training batches of an epoch, the same for the same seed and epoch, on any machine.

    Quarantined samples are left out.

    Args:
        features: Of one store or several; they must hold depth and, where flips are drawn, both views.
        batch_size: Samples B in a batch; what is left over at the end of an epoch is dropped.
        layers: Hidden states to read.
        seed: Of the order and the flips.
        flip_probability: How often the flipped view is taken.
        shuffle: `full`, or `blocks`: shards in random order, and the samples of some of them mixed. What is read next
            then lies together, so that a disk gives it as fast as it can; for features that do not fit into memory.
        native: Depth is the ground truth (see `Features.ground_truth`), not the training target.
        samples: Take only the first so many.
        threads: Threads that read.
        ahead: Batches read before they are asked for.
        held: Batches whose arrays are valid at once: with 1 the last, until the next is asked for.
        allocate: Makes the buffers; a trainer on a GPU gives page-locked ones.

    Attributes:
        rows: Of the features, that are used, ascending.
        size: Samples B in a batch.
        flip_probability: How often the flipped view is taken.

    Raises:
        StoreError: There are too few samples, or depth, a view, or a layer is lacking.
    """

    def __init__(
        self,
        features: Features,
        batch_size: int,
        layers: Sequence[int],
        *,
        seed: int,
        flip_probability: float = 0.5,
        shuffle: Shuffle = "full",
        native: bool = False,
        samples: int | None = None,
        threads: int = 4,
        ahead: int = 2,
        held: int = 1,
        allocate: Allocate = np.empty,
    ) -> None:
        self.rows = features.usable[:samples]
        if len(self.rows) < batch_size:
            raise StoreError(
                f"{features.path}: {len(self.rows)} samples do not fill one batch of {batch_size}; lower batch_size"
            )
        features.require(layers, depth=True)
        if flip_probability and "flipped" not in features.views:
            raise StoreError(f"{features.path}: holds no flipped view; set flip_probability to 0 or extract with it")
        self.size, self.flip_probability = batch_size, flip_probability
        self._features, self._seed, self._allocate = features, seed, allocate
        self._shuffle: Shuffle = shuffle
        self._threads, self._ahead = threads, ahead
        self._sources = {store: _sources(store, layers, native=native) for store in features.stores}
        self._read_sample, self._loaded = self._read_stored, False
        height, width = features.native_size if native else features.depth_size
        self._buffers = deque(
            _Buffer.of(_empty(features, batch_size, layers, (height, width), allocate)) for _ in range(ahead + held)
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.rows) // self.size

    @property
    def views(self) -> tuple[bool, ...]:
        """Which views are ever seen, by whether they are flipped."""
        return {0.0: (False,), 1.0: (True,)}.get(self.flip_probability, (False, True))

    def load(self) -> None:
        """Read all that any epoch will see into memory of `allocate`, and make batches from there from now on."""
        sizes = [len(chunk) for chunk in self._buffers[0].rows[0]]
        kept = {view: [_rows(len(self.rows), size, self._allocate) for size in sizes] for view in self.views}

        def load_some(rows: Sequence[int]) -> None:
            for at in rows:
                for view, arrays in kept.items():
                    self._read_stored(int(self.rows[at]), view, [array[at].data for array in arrays])

        def read_kept(index: int, flipped: bool, out: Sequence[memoryview]) -> None:
            at = np.searchsorted(self.rows, index)
            for array, chunk in zip(kept[flipped], out, strict=True):
                np.frombuffer(chunk, np.uint8)[:] = array[at]

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(load_some, (range(first, len(self.rows), self._threads) for first in range(self._threads))))
        self._read_sample, self._loaded = read_kept, True

    @property
    def sample_bytes(self) -> int:
        """Of one sample in one view, as it is read."""
        return sum(len(row) for row in self._buffers[0].rows[0])

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the first that is wanted."""
        rows, flipped = self.order(number)
        batches = zip(rows[first:], flipped[first:], strict=True)
        if self._shuffle == "full" or self._loaded:
            return self.read(batches)
        return self.read(fetching_ahead(batches, self._chunks, -(-MIXED * self._features.stores[0].shard // self.size)))

    def order(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of an epoch's batches and which of them are flipped, each [batches, B]."""
        generator = np.random.default_rng([self._seed, number])
        order = shuffled(self.rows, self._features.blocks[self.rows], self._shuffle, generator)
        order = order[: len(self) * self.size].reshape(len(self), self.size)
        return order, generator.random(order.shape) < self.flip_probability

    def read(self, batches: Iterable[tuple[NDArray[np.int64], NDArray[np.bool_]]]) -> Iterator[Batch]:
        """Batches, read ahead.

        Args:
            batches: Of each, of at most B samples, the rows and which of them are flipped.
        """
        waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="batches") as pool:
            try:
                for rows, flipped in batches:
                    waiting.append(self._start(pool, rows, flipped))
                    if len(waiting) > self._ahead:
                        yield _finished(waiting.popleft())
                while waiting:
                    yield _finished(waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _start(
        self, pool: ThreadPoolExecutor, rows: NDArray[np.int64], flips: NDArray[np.bool_]
    ) -> tuple[Batch, list[Future[None]]]:
        self._buffers.rotate(-1)
        buffer = self._buffers[-1]
        batch = buffer.batch.first(len(rows))
        batch.indices[:], batch.flipped[:] = rows, flips
        work = list(zip(rows.tolist(), flips.tolist(), buffer.rows, strict=False))
        # Threads are handed few large parts: to hand each sample over took a tenth of the time.
        return batch, [pool.submit(self._read, work[at :: self._threads]) for at in range(self._threads)]

    def _chunks(self, batch: tuple[NDArray[np.int64], NDArray[np.bool_]]) -> Iterator[Chunk]:
        """All that one batch reads."""
        for index, flipped in zip(*(array.tolist() for array in batch), strict=True):
            store, row = self._features.located(index)
            yield from ((array, row, view) for array, view in self._sources[store][flipped])

    def _read(self, work: Sequence[tuple[int, bool, Sequence[memoryview]]]) -> None:
        for index, flipped, out in work:
            self._read_sample(index, flipped, out)

    def _read_stored(self, index: int, flipped: bool, out: Sequence[memoryview]) -> None:
        store, row = self._features.located(index)
        for (array, view), chunk in zip(self._sources[store][flipped], out, strict=True):
            array.read_bytes(chunk, row, view)


class _Buffer(NamedTuple):
    """A batch, and where each chunk of each of its samples lies, in the order of `_names`."""

    batch: Batch
    rows: Sequence[Sequence[memoryview]]

    @classmethod
    def of(cls, batch: Batch) -> "_Buffer":
        arrays = [*batch.states.values(), *batch.scales.values(), batch.pooled, batch.depth]
        return cls(
            batch, [[array[at].reshape(-1).view(np.uint8).data for array in arrays] for at in range(len(batch.indices))]
        )


def _empty(
    features: Features, size: int, layers: Sequence[int], depth_size: tuple[int, int], allocate: Allocate
) -> Batch:
    tokens = features.identity["tokens"]
    scaled = layers if features.storage == "int8" else ()
    return Batch(
        np.empty(size, np.int64),
        np.empty(size, np.bool_),
        {n: allocate((size, tokens["patches"], tokens["channels"]), features.storage) for n in layers},
        {n: allocate((size, tokens["channels"]), np.float32) for n in scaled},
        allocate((size, tokens["channels"]), np.float32),
        allocate((size, 1, *depth_size), features.depth_counts),
        features.depth_unit,
    )


def _rows(count: int, size: int, allocate: Allocate) -> list[NDArray[np.uint8]]:
    """Room for so many rows of bytes, in blocks: PyTorch rounds page-locked memory up to a power of two."""
    step = max(1, _BLOCK // size)
    blocks = (allocate((min(step, count - first), size), np.uint8) for first in range(0, count, step))
    return [row for block in blocks for row in block]


def _sources(store: FeatureCache, layers: Sequence[int], *, native: bool) -> dict[bool, list[tuple[ShardedArray, int]]]:
    """By whether the flipped view is wanted, the array of each chunk of a sample and the index of its view there."""
    scaled = layers if store.storage == "int8" else ()
    by_view = [*map(layer_array, layers), *map(scales_array, scaled), POOLED]
    depth = store.array(store.native_array if native else DEPTH)
    return {
        view == "flipped": [*((store.array(name), store.view_number(view)) for name in by_view), (depth, 0)]
        for view in store.views
        if view in ("plain", "flipped")
    }


def _finished(started: tuple[Batch, list[Future[None]]]) -> Batch:
    batch, parts = started
    for part in parts:
        part.result()
    return batch
