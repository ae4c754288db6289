"""Statistics of each channel of a hidden state, out of core."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reader import FeatureCache

THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class ChannelStatistics:
    """One hidden state over all samples, views and patches, by channel.

    Attributes:
        mean: [C].
        std: Standard deviation, [C].
        min: [C].
        max: [C].
        zeros: Share of values that are zero, [C].
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    zeros: NDArray[np.float64]

    def extremes(self, count: int) -> list[int]:
        """The channels that reach furthest from zero, the furthest first."""
        reach = np.maximum(np.abs(self.min), np.abs(self.max))
        return [int(channel) for channel in np.argsort(-reach, kind="stable")[:count]]


def channel_statistics(
    cache: FeatureCache, layer: int, progress: Callable[[int], None] = lambda _bytes: None
) -> ChannelStatistics:
    """Statistics of one hidden state. No more than one shard a thread is in memory.

    Quarantined samples, whose rows hold zeros, are left out.

    Args:
        cache: A complete store.
        layer: The hidden state.
        progress: Called from several threads with the number of bytes of each shard read.

    Raises:
        StoreError: A shard is missing, cut short or altered.
    """
    import dask.array as da
    from dask.base import compute

    cache.require([layer], depth=False)
    rows = _Rows(cache, layer)
    chunks: Any = (cache.shard, *rows.shape[1:])
    states = da.from_array(rows, chunks=chunks, name=False, asarray=False, inline_array=True, meta=np.empty((0,) * 4))

    def moments(block: NDArray[np.float16]) -> NDArray[np.float64]:
        progress(block.nbytes)
        return _moments(block)

    shards, channels = states.numblocks[0], rows.shape[-1]
    parts = states.map_blocks(
        moments,
        drop_axis=3,
        chunks=((1,) * shards, (5,), (channels,)),
        dtype=np.float64,
        meta=np.empty((0, 0, 0)),
    )
    sums, low, high = compute(
        parts[:, :3].sum(axis=0),
        parts[:, 3].min(axis=0),
        parts[:, 4].max(axis=0),
        scheduler="threads",
        num_workers=THREADS,
    )
    count = (len(cache) - len(cache.quarantined)) * int(np.prod(rows.shape[1:3]))
    mean, squares, zeros = sums / count
    return ChannelStatistics(mean, np.sqrt(np.maximum(squares - mean**2, 0)), low, high, zeros)


class _Rows:
    """A hidden state as Dask takes an array, but read with the checks that Zarr lacks."""

    def __init__(self, cache: FeatureCache, layer: int) -> None:
        tokens = cache.identity["tokens"]
        self._cache, self._layer, self._left_out = cache, layer, frozenset(cache.quarantined)
        self.shape = (len(cache), len(cache.views), tokens["patches"], tokens["channels"])
        self.dtype, self.ndim = np.dtype(np.float16), 4

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.float16]:
        start, stop, _ = key[0].indices(self.shape[0])
        kept = [row for row in range(start, stop) if row not in self._left_out]
        out = np.empty((len(self._cache.views), len(kept), *self.shape[2:]), np.float16)
        for number, view in enumerate(self._cache.views):
            for at, row in enumerate(kept):
                self._cache.states_into(at, row, view, {self._layer: out[number]})
        return out.swapaxes(0, 1)


def _moments(block: NDArray[np.float16]) -> NDArray[np.float64]:
    """[1, 5, C]: sum, sum of squares, number of zeros, minimum and maximum of each channel of [n, V, P, C]."""
    found = np.zeros((5, block.shape[-1]))
    found[3], found[4] = np.inf, -np.inf
    for row in block:
        values = row.reshape(-1, row.shape[-1]).astype(np.float32)
        found[0] += values.sum(axis=0, dtype=np.float64)
        found[2] += len(values) - np.count_nonzero(values, axis=0)
        np.minimum(found[3], values.min(axis=0), out=found[3])
        np.maximum(found[4], values.max(axis=0), out=found[4])
        # Exact: the square of an 11 bit number has 22.
        found[1] += np.square(values, out=values).sum(axis=0, dtype=np.float64)
    return found[None]
