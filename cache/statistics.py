"""Statistics of stored features, and the guard that float16 held them."""

import numpy as np
from numpy.typing import NDArray

from .errors import StoreError


def layer_statistics(rows: NDArray[np.float16], name: str, first: int) -> dict[str, float]:
    """Mean, standard deviation, minimum, maximum and share of zeros of one hidden state's rows.

    Args:
        rows: [N, V, P, C] as they will be stored.
        name: The array's name, for the message.
        first: Row of the store that the first of these is, for the message.

    Raises:
        StoreError: Some values are not finite, which is what float16 makes of numbers beyond 65,504.
    """
    count, total, squares, zeros = rows.size, 0.0, 0.0, 0
    low, high = np.inf, -np.inf
    for row in rows:
        values = row.ravel().astype(np.float32)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        zeros += values.size - int(np.count_nonzero(values))
        total += float(values.sum(dtype=np.float64))
        squares += float(np.square(values, out=values).sum(dtype=np.float64))
    if not np.isfinite([low, high, total]).all():
        bad = ~np.isfinite(rows)
        row = first + int(np.argmax(bad.reshape(len(rows), -1).any(axis=1)))
        raise StoreError(
            f"{name}: {int(bad.sum())} of {count} values do not fit float16 (first at row {row}); nothing of this "
            "shard was stored: compute in float32 or bfloat16, or leave this layer out"
        )
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    return {"mean": mean, "std": deviation, "min": low, "max": high, "zeros": zeros / count}
