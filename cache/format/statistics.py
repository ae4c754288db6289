"""Statistics of what is stored; those that are not finite tell that float16 did not hold it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from typing_extensions import override

# Of one depth map: more do not move the median of a shard by what is printed of it.
_MOST_VALUES = 4096
_FLOAT32 = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


def widened(values: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers as float32: looked up by their bits, three times as fast as NumPy converts them."""
    return np.take(_FLOAT32, np.ascontiguousarray(values).view(np.uint16))


HASH_DIGITS = 16


def content_hash(values: NDArray[Any]) -> str:
    """The first digits of the BLAKE3 hash of an array's values."""
    return blake3(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data).hexdigest(HASH_DIGITS // 2)


MOMENTS = ("sum", "square", "min", "max", "nonzero")
"""What is taken of each row of a hidden state; the sum of squares is of the values as they are stored."""


def row_moments(row: NDArray[np.float16]) -> tuple[float, ...]:
    """The `MOMENTS` of one row, summed in float32: of a row that is exact enough, and several times as fast."""
    values = widened(row).reshape(-1)
    square = float(values @ values)
    return float(values.sum()), square, float(values.min()), float(values.max()), float(np.count_nonzero(values))


def layer_statistics(moments: NDArray[np.float64], size: int) -> dict[str, float] | None:
    """Mean, standard deviation, minimum, maximum and share of zeros of one hidden state's rows.

    Args:
        moments: [N, 5] of the rows, N at least 1.
        size: Values in a row.

    Returns:
        None where values are not finite, which is what float16 makes of numbers beyond 65,504.
    """
    if not np.isfinite(moments).all():
        return None
    count, (total, squares, low, high, nonzero) = len(moments) * size, moments.T
    mean = float(total.sum()) / count
    deviation = float(np.sqrt(max(float(squares.sum()) / count - mean**2, 0.0)))
    return {
        "mean": mean,
        "std": deviation,
        "min": float(low.min()),
        "max": float(high.max()),
        "zeros": (count - float(nonzero.sum())) / count,
    }


class DepthRange(NamedTuple):
    """Metres of measured depth.

    >>> str(DepthRange(1.73, 0.71, 9.93)), str(DepthRange(0.0021, 0.0004, 931.7))
    ('1.7 m (0.71 to 9.9)', '0.0021 m (0.0004 to 932)')
    """

    median: float
    min: float
    max: float

    @override
    def __str__(self) -> str:
        median, low, high = (f"{value:,.0f}" if value >= 10 else f"{value:.2g}" for value in self)
        return f"{median} m ({low} to {high})"


class MeasuredDepth(NamedTuple):
    """What was measured of one depth map, in counts: some of the pixels, the least and the most."""

    some: NDArray[np.uint32]
    min: int
    max: int


def measured_depth(row: NDArray[np.uint32]) -> MeasuredDepth | None:
    """About 4,096 pixels of a depth map [H, W] for the median, and its ends; None where nothing was measured."""
    measured = row[row > 0]
    if not measured.size:
        return None
    some = measured[:: 1 + measured.size // _MOST_VALUES].copy()
    return MeasuredDepth(some, int(measured.min()), int(measured.max()))


def depth_range(maps: Iterable[MeasuredDepth | None], unit: float) -> DepthRange | None:
    """Median, minimum and maximum of the depth that was measured; None where none was.

    Args:
        maps: Of each depth map.
        unit: Metres of one count.
    """
    found = [one for one in maps if one]
    if not found:
        return None
    median = float(np.median(np.concatenate([one.some for one in found])))
    return DepthRange(median * unit, min(one.min for one in found) * unit, max(one.max for one in found) * unit)
