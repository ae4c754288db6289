"""Statistics of what is stored, and the guard that float16 held it."""

from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from typing_extensions import override

from ..errors import StoreError

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


def layer_statistics(rows: NDArray[np.float16], name: str, first: int) -> dict[str, float]:
    """Mean, standard deviation, minimum, maximum and share of zeros of one hidden state's rows.

    Args:
        rows: [N, ...] as they will be stored, N at least 1.
        name: The part's name, for the message.
        first: Row of the store that the first of these is, for the message.

    Raises:
        StoreError: Some values are not finite, which is what float16 makes of numbers beyond 65,504.
    """
    count, total, squares, zeros = rows.size, 0.0, 0.0, 0
    low, high = np.inf, -np.inf
    for row in rows:
        values = widened(row).reshape(-1)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        zeros += values.size - int(np.count_nonzero(values))
        # One row at a time float32 is exact enough, and several times as fast.
        total += float(values.sum())
        squares += float(values @ values)
    if not np.isfinite([low, high, total]).all():
        bad = ~np.isfinite(rows)
        row = first + int(np.argmax(bad.reshape(len(rows), -1).any(axis=1)))
        raise StoreError(
            f"{name}: {int(bad.sum())} of {count} values do not fit float16 (first at row {row}); nothing of this "
            "shard was committed: compute in float32 or bfloat16, or leave this layer out"
        )
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    return {"mean": mean, "std": deviation, "min": low, "max": high, "zeros": zeros / count}


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


def depth_range(rows: NDArray[np.uint32], unit: float) -> DepthRange | None:
    """Median, minimum and maximum of the depth that was measured; None where none was.

    Args:
        rows: [N, H, W] counts, 0 where nothing was measured. Of each, about 4,096 pixels count for the median.
        unit: Metres of one count.
    """
    thinned, ends = [], []
    for row in rows:
        if (measured := row[row > 0]).size:
            thinned.append(measured[:: 1 + measured.size // _MOST_VALUES].copy())
            ends += [int(measured.min()), int(measured.max())]
    if not thinned:
        return None
    return DepthRange(float(np.median(np.concatenate(thinned))) * unit, min(ends) * unit, max(ends) * unit)
