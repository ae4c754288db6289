"""The order in which an epoch sees its samples, the same for the same seed on any machine."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shuffle = Literal["full", "blocks"]

MIXED = 8
"""Blocks whose samples are mixed: 512 images, 1.3 GB of one view of seven states of ViT-B/16 and depth."""


def shuffled(
    rows: NDArray[np.int64], blocks: NDArray[np.int64], kind: Shuffle, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Rows in random order.

    Args:
        rows: Ascending.
        blocks: Of each row, the number of the block that it lies in, ascending.
        kind: `full`, or `blocks`: the blocks in random order, and the rows of about `MIXED` at a time mixed.
        generator: Draws.
    """
    if kind == "full":
        return generator.permutation(rows)
    parts = np.split(rows, np.flatnonzero(np.diff(blocks)) + 1)
    # Of like numbers of blocks, so that the last few are not a block by itself.
    mixes = np.array_split(generator.permutation(len(parts)), -(-len(parts) // MIXED))
    return np.concatenate([generator.permutation(np.concatenate([parts[at] for at in mix])) for mix in mixes])
