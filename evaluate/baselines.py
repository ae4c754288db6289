"""Predictions without an image: the maps and constants that the training depths alone give."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..cache import SpaceClipError

# Bins of depth an octave, as powers of two: the top bits of a float32's mantissa number them.
_COARSE, _FINE = 6, 12
_CELLS = 128
_AHEAD = 16


class Targets(Protocol):
    """What is asked of the training split; a `FeatureCache` with depth is one."""

    def __len__(self) -> int: ...

    @property
    def depth_size(self) -> tuple[int, int]:
        """(height, width) of the training targets."""
        ...

    def depth(self, index: int) -> NDArray[np.float32]:
        """[H, W] metres, 0 where nothing was measured."""
        ...


def image_free_depths(
    cache: Targets,
    min_depth: float,
    max_depth: float,
    rows: Sequence[int] | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> dict[str, NDArray[np.float32]]:
    """The best predictions that know no image, in metres, by name; a constant is a map of one pixel.

    `mean map`: average of each pixel over the images that know it, exact. `median map`: median of each cell of a grid
    of at most 128 x 128 over all images, to 1.6 % (of two in the middle the lower). `median constant`: median of all
    pixels, and `AbsRel constant`: the constant of the lowest AbsRel (their median with weights 1 / depth), each image
    with equal weight, to 0.02 %.
    Where no image knows a pixel the maps hold the mean of all and the median constant.

    One pass over the targets, and memory that does not grow with their number: about 40 bytes a pixel of one target,
    and 75 MB for depths from 0.001 to 80 m.

    Args:
        cache: The training split.
        min_depth: Depths that count lie strictly above, metres.
        max_depth: Likewise below.
        rows: Its rows to use; all if not given.
        progress: Called with the targets done.

    Returns:
        The names of constants tell their depth; maps are [H, W] or smaller, to be resized bilinearly.

    Raises:
        SpaceClipError: The split holds no depth, or not one pixel in that range.
    """
    chosen = range(len(cache)) if rows is None else rows
    total, known = np.zeros(cache.depth_size), np.zeros(cache.depth_size, np.int32)
    cells = _cells(cache.depth_size)
    coarse, fine = _Bins(_COARSE, min_depth, max_depth), _Bins(_FINE, min_depth, max_depth)
    counts = np.zeros((int(cells.max()) + 1, coarse.number), np.uint32)
    flat, starts = counts.reshape(-1), cells * coarse.number
    shares = np.zeros(fine.number)
    for done, depth in enumerate(_targets(cache, chosen), 1):
        progress(done)
        valid = (depth > min_depth) & (depth < max_depth)
        inside = depth[valid]
        if not inside.size:
            continue
        np.add(total, depth, out=total, where=valid)
        known += valid
        np.add.at(flat, starts[valid] + coarse.of(inside), np.uint32(1))
        shares += np.bincount(fine.of(inside), minlength=fine.number) / inside.size
    if not known.any():
        raise SpaceClipError(
            f"the {len(chosen)} training targets have no pixel from {min_depth:g} to {max_depth:g} m, expected some "
            "for the baselines: extract the training split with depth, or mend the range"
        )
    mean = np.where(known, total / np.maximum(known, 1), total.sum() / known.sum())
    median = fine.median(shares[None])
    least = fine.median(shares[None] / fine.centres)
    by_cell = np.concatenate([coarse.median(block) for block in np.array_split(counts, _CELLS)])
    medians = np.where(np.isnan(by_cell), median, by_cell).reshape(_grid(cache.depth_size))
    return {
        "mean map": mean.astype(np.float32),
        "median map": medians.astype(np.float32),
        f"median constant {median.item():.3g} m": median[None].astype(np.float32),
        f"AbsRel constant {least.item():.3g} m": least[None].astype(np.float32),
    }


class _Bins:
    """Bins of depth that grow with it, 2 ** `bits` an octave, over a range in metres."""

    def __init__(self, bits: int, low: float, high: float) -> None:
        self._shift = 23 - bits
        self._first, last = (np.array([low, high], np.float32).view(np.int32) >> self._shift).tolist()
        self.number = last - self._first + 1
        edges = (np.arange(self._first, last + 2, dtype=np.int32) << self._shift).view(np.float32).astype(np.float64)
        self._edges, self.centres = edges, (edges[1:] + edges[:-1]) / 2

    def of(self, depth: NDArray[np.float32]) -> NDArray[np.int32]:
        """The bin of each depth of the range."""
        return (depth.view(np.int32) >> self._shift) - self._first

    def median(self, weights: NDArray) -> NDArray[np.float64]:
        """The depth in metres with half of the weight below it, for each row of weights [N, bins]; NaN without any."""
        below = np.cumsum(weights, axis=1, dtype=np.float64)
        half = below[:, -1:] / 2
        bins = (below < half).sum(axis=1)
        here = np.take_along_axis(weights, bins[:, None], axis=1)[:, 0].astype(np.float64)
        before = np.take_along_axis(below, bins[:, None], axis=1)[:, 0] - here
        share = np.divide(half[:, 0] - before, here, out=np.full(len(here), np.nan), where=here > 0)
        return self._edges[bins] + share * (self._edges[bins + 1] - self._edges[bins])


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    return min(size[0], _CELLS), min(size[1], _CELLS)


def _cells(size: tuple[int, int]) -> NDArray[np.int64]:
    """The cell of the grid that each pixel [H, W] lies in, row by row."""
    grid = _grid(size)
    down, across = (np.arange(length) * number // length for length, number in zip(size, grid, strict=True))
    return down[:, None] * grid[1] + across


def _targets(cache: Targets, rows: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """Read targets by several threads, some ahead."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(rows), _AHEAD):
            yield from pool.map(cache.depth, rows[start : start + _AHEAD])
