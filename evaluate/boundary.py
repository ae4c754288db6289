"""Where the true depth jumps, and where it does not: the regions of the boundary metrics (method.md, "Scoring")."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cache import SpaceClipError
from .metrics import positive_depth

THRESHOLDS = (0.03, 0.05, 0.10)
REGIONS = tuple(f"{part}_{threshold:.2f}" for threshold in THRESHOLDS for part in ("boundary", "interior"))

# Half the side of the 7 x 7 windows, and the steps either way that add up to it.
_RADIUS = 3
_STEPS = (1, 2)

# Rows in a strip that stays in the processor's cache.
_ROWS = 16


def boundary_regions(ground_truth: ArrayLike, valid: ArrayLike) -> dict[str, NDArray[np.bool_]]:
    """Split the valid pixels of a ground truth into boundaries and interiors: bool [H, W] masks by name of `REGIONS`.

    Two valid 4-neighbours whose natural log depths differ by more than the threshold mark each other; the boundary is
    what lies within 7 x 7 of a mark, the interior the rest. Both leave out every pixel whose 7 x 7 window holds an
    invalid one or leaves the image.

    Args:
        ground_truth: [H, W] in metres; only valid pixels are looked at.
        valid: Bool [H, W].

    Raises:
        SpaceClipError: The shapes differ or are not [H, W], or a valid pixel is not a positive finite depth.
    """
    truth, known = np.asarray(ground_truth), np.asarray(valid, dtype=bool)
    if truth.shape != known.shape or truth.ndim != 2:
        raise SpaceClipError(
            f"the ground truth is {list(truth.shape)} and the valid mask {list(known.shape)}, expected one [H, W]: "
            "give the mask of this ground truth"
        )
    inside = _erode(known)
    if not inside.any():  # always so where the ground truth is as sparse as a lidar's
        return dict.fromkeys(REGIONS, inside)
    regions = {}
    for threshold, marks in zip(THRESHOLDS, _jumps(truth, known), strict=True):
        near = _dilate(marks)
        regions[f"boundary_{threshold:.2f}"] = near & inside
        regions[f"interior_{threshold:.2f}"] = inside & ~near
    return regions


def _jumps(truth: NDArray, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark both of two valid 4-neighbours whose log depths differ by more than each threshold: [thresholds, H, W]."""
    marks = np.zeros((len(THRESHOLDS), *truth.shape), dtype=bool)
    for top in range(0, len(truth), _ROWS):
        strip = slice(top, top + _ROWS + 1)  # one row more, for the pairs across
        known = valid[strip]
        log_depth = np.log(positive_depth("ground truth", np.where(known, truth[strip], 1)), dtype=np.float64)
        log_depth[~known] = np.nan  # so that no pair with an invalid pixel exceeds a threshold
        for swap in (False, True):
            lines = log_depth.T if swap else log_depth
            difference = np.abs(lines[1:] - lines[:-1])
            for threshold, mark in zip(THRESHOLDS, marks[:, strip], strict=True):
                marked, far = mark.T if swap else mark, difference > threshold
                marked[1:] |= far
                marked[:-1] |= far
    return marks


def _erode(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the pixels whose whole 7 x 7 window is set and in the image."""
    eroded = ~_dilate(~mask)
    for lines in (eroded, eroded.T):
        lines[:_RADIUS] = lines[-_RADIUS:] = False
    return eroded


def _dilate(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Set every pixel with one set in its 7 x 7 window."""
    for step in _STEPS:
        for transposed in (False, True):
            grown = mask.copy()
            to, source = (grown.T, mask.T) if transposed else (grown, mask)
            to[step:] |= source[:-step]
            to[:-step] |= source[step:]
            mask = grown
    return mask
