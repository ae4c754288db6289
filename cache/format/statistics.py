"""Statistics of stored features, and the guard that float16 held them."""

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError

_FLOAT32 = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


def widened(values: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers as float32: looked up by their bits, three times as fast as NumPy converts them."""
    return np.take(_FLOAT32, np.ascontiguousarray(values).view(np.uint16))


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
