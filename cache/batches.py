"""Batches of a store, read ahead by threads into buffers that are used again; shuffled by seed for training."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import StoreError
from .reader import FeatureCache

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray]


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
        cache: The store; it must hold depth and, where flips are drawn, both views.
        batch_size: Samples B in a batch; what is left over at the end of an epoch is dropped.
        layers: Hidden states to read.
        seed: Of the order and the flips.
        flip_probability: How often the flipped view is taken.
        native: Depth is the ground truth (see `FeatureCache.ground_truth_into`), not the training target.
        samples: Take only the first so many.
        threads: Threads that read.
        ahead: Batches read before they are asked for.
        allocate: Makes the buffers; a trainer on a GPU gives page-locked ones.

    Attributes:
        rows: Of the store, that are used, ascending.
        size: Samples B in a batch.
        flip_probability: How often the flipped view is taken.

    Raises:
        StoreError: The store is too small, or lacks depth, a view, or a layer.
    """

    def __init__(
        self,
        cache: FeatureCache,
        batch_size: int,
        layers: Sequence[int],
        *,
        seed: int,
        flip_probability: float = 0.5,
        native: bool = False,
        samples: int | None = None,
        threads: int = 4,
        ahead: int = 2,
        allocate: Allocate = np.empty,
    ) -> None:
        self.rows = cache.usable[:samples]
        if len(self.rows) < batch_size:
            raise StoreError(
                f"{cache.path}: {len(self.rows)} samples do not fill one batch of {batch_size}; lower batch_size"
            )
        cache.require(layers, depth=True)
        if flip_probability and "flipped" not in cache.views:
            raise StoreError(f"{cache.path}: holds no flipped view; set flip_probability to 0 or extract with it")
        self._cache, self.size, self._seed, self.flip_probability = cache, batch_size, seed, flip_probability
        self._threads, self._ahead = threads, ahead
        self._depth_into = cache.ground_truth_into if native else cache.depth_into
        tokens, (height, width) = cache.identity["tokens"], cache.native_size if native else cache.depth_size
        self._buffers = deque(
            Batch(
                np.empty(batch_size, np.int64),
                np.empty(batch_size, np.bool_),
                {n: allocate((batch_size, tokens["patches"], tokens["channels"]), cache.storage) for n in layers},
                {n: allocate((batch_size, tokens["channels"]), np.float32) for n in layers if cache.storage == "int8"},
                allocate((batch_size, tokens["channels"]), np.float32),
                allocate((batch_size, 1, height, width), cache.depth_counts),
                cache.depth_unit,
            )
            for _ in range(ahead + 1)
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.rows) // self.size

    @property
    def sample_bytes(self) -> int:
        """Of one sample in one view, as it is read."""
        one = self._buffers[0]
        arrays = (*one.states.values(), *one.scales.values(), one.pooled, one.depth)
        return sum(array.nbytes for array in arrays) // self.size

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the first that is wanted."""
        rows, flipped = self.order(number)
        return self.read(rows[first:], flipped[first:])

    def order(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of an epoch's batches and which of them are flipped, each [batches, B]."""
        generator = np.random.default_rng([self._seed, number])
        order = generator.permutation(self.rows)[: len(self) * self.size].reshape(len(self), self.size)
        return order, generator.random(order.shape) < self.flip_probability

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
        batch = self._buffers[-1].first(len(rows))
        batch.indices[:], batch.flipped[:] = rows, flips
        return batch, [pool.submit(self._read, batch, at) for at in range(len(rows))]

    def _read(self, batch: Batch, at: int) -> None:
        index, flipped = int(batch.indices[at]), bool(batch.flipped[at])
        view = "flipped" if flipped else "plain"
        self._cache.stored_into(at, index, view, batch.states, batch.scales)
        self._cache.pooled_into(batch.pooled[at], index, view)
        self._depth_into(batch.depth[at, 0], index)


def _finished(started: tuple[Batch, list[Future[None]]]) -> Batch:
    batch, parts = started
    for part in parts:
        part.result()
    return batch
