"""Batches of a store, read ahead by threads into buffers that are used again; shuffled by seed for training."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import StoreError
from .features import Features
from .format.arrays import DEPTH, POOLED, layer_array, scales_array
from .format.shard import ShardedArray
from .reader import FeatureCache

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray]

Shuffle = Literal["full", "blocks"]

_MIXED = 8
"""Blocks whose samples are mixed: 512 images, 1.3 GB of seven states of ViT-B/16 and depth."""


@dataclass(frozen=True)
class Batch:
    """One batch. Its arrays are used again for a later batch: valid until the iterator is asked for the next.

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
        self._features, self._seed, self._shuffle = features, seed, shuffle
        self._threads, self._ahead = threads, ahead
        self._sources = {store: _sources(store, layers, native=native) for store in features.stores}
        height, width = features.native_size if native else features.depth_size
        self._buffers = deque(
            _Buffer.of(_empty(features, batch_size, layers, (height, width), allocate)) for _ in range(ahead + 1)
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.rows) // self.size

    @property
    def sample_bytes(self) -> int:
        """Of one sample in one view, as it is read."""
        return sum(len(row) for row in self._buffers[0].rows[0])

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the first that is wanted."""
        rows, flipped = self.order(number)
        return self.read(rows[first:], flipped[first:])

    def order(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of an epoch's batches and which of them are flipped, each [batches, B]."""
        generator = np.random.default_rng([self._seed, number])
        order = generator.permutation(self.rows) if self._shuffle == "full" else self._by_blocks(generator)
        order = order[: len(self) * self.size].reshape(len(self), self.size)
        return order, generator.random(order.shape) < self.flip_probability

    def _by_blocks(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """The rows, those of about `_MIXED` blocks at a time."""
        blocks = np.split(self.rows, np.flatnonzero(np.diff(self._features.blocks[self.rows])) + 1)
        parts = np.array_split(generator.permutation(len(blocks)), -(-len(blocks) // _MIXED))
        mixed = [generator.permutation(np.concatenate([blocks[at] for at in part])) for part in parts]
        return np.concatenate(mixed)

    def read(self, rows: Iterable[NDArray[np.int64]], flipped: Iterable[NDArray[np.bool_]]) -> Iterator[Batch]:
        """Batches of some rows, read ahead; both are given for each batch, of at most B."""
        waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="batches") as pool:
            try:
                for some, flips in zip(rows, flipped, strict=True):
                    waiting.append(self._start(pool, some, flips))
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

    def _read(self, work: Sequence[tuple[int, bool, Sequence[memoryview]]]) -> None:
        for index, flipped, out in work:
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
