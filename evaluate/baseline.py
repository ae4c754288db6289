"""The mean-depth baseline: what one map of average depths, the same for every image, would score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..cache import FeatureCache, SpaceClipError


def mean_depth_map(cache: FeatureCache, indices: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Average the training targets pixel by pixel, over the images that know the pixel.

    A pixel that no image knows gets the mean of all known ones.

    Args:
        cache: The training split.
        indices: Its rows to average; all if not given.

    Returns:
        [H, W] float32 in metres, at the size of the training targets.

    Raises:
        SpaceClipError: The split holds no depth, or not one known pixel.
    """
    rows = range(len(cache)) if indices is None else indices
    total, known = np.float64(0), np.int64(0)
    for index in rows:
        depth = cache.depth(index)
        total = total + depth
        known = known + (depth > 0)
    if not np.any(known):
        raise SpaceClipError(
            f"the {len(rows)} training targets have no known pixel, expected some for the mean-depth baseline: "
            "extract the training split with depth"
        )
    return np.where(known, total / np.maximum(known, 1), np.sum(total) / np.sum(known)).astype(np.float32)
