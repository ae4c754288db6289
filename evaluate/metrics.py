"""The depth metrics of one pixel set, in one pass over its valid pixels (method.md, "Scoring")."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cache import SpaceClipError

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")

# Blocks that stay in the processor's cache: fresh arrays of a whole image cost several times the arithmetic.
_BLOCK = 1 << 14


def depth_metrics(prediction: ArrayLike, target: ArrayLike, valid: ArrayLike) -> dict[str, float]:
    """Score one predicted depth map against the truth, in float64 over the valid pixels.

    `prediction` and `target` are [...] in metres, `valid` is bool [...]; NumPy arrays or CPU tensors. Scaling, clipping
    and cropping are the caller's, see `score_image`. The deltas are shares strictly below 1.25 to the power of k.

    >>> truth = np.array([1.0, 2.0, 4.0, 8.0])
    >>> metrics = depth_metrics([1.1, 2.0, 3.0, 12.0], truth, truth > 0)
    >>> {name: round(metrics[name], 4) for name in ("abs_rel", "rmse", "silog", "delta1")}
    {'abs_rel': 0.2125, 'rmse': 2.0622, 'silog': 24.7434, 'delta1': 0.5}

    Raises:
        SpaceClipError: shapes differ, no pixel is valid, or a valid pixel is not a positive finite depth.
    """
    pixels, shift, sums = 0, 0.0, np.zeros(10)
    for predicted, truth in valid_blocks(prediction, target, valid):
        error = predicted - truth
        relative = error / truth
        ratio = predicted / truth
        log_error = np.log(ratio)
        # Any shift leaves SILog as it is; this one makes it exactly 0, not rounding noise, where the error is constant.
        shift = shift if pixels else float(log_error[0])
        shifted = log_error - shift
        worse = np.maximum(ratio, truth / predicted)
        sums += (
            np.abs(relative).sum(),
            relative @ error,
            error @ error,
            log_error @ log_error,
            np.abs(log_error).sum(),
            shifted @ shifted,
            shifted.sum(),
            *(np.count_nonzero(worse < 1.25**k) for k in (1, 2, 3)),
        )
        pixels += truth.size
    abs_rel, sq_rel, square, log_square, log_abs, shifted_square, shifted_mean, *deltas = (sums / pixels).tolist()
    silog = 100 * math.sqrt(max(shifted_square - shifted_mean**2, 0))
    values = (abs_rel, sq_rel, math.sqrt(square), math.sqrt(log_square), log_abs / math.log(10), silog, *deltas)
    return dict(zip(METRICS, values, strict=True))


def valid_blocks(
    prediction: ArrayLike, target: ArrayLike, valid: ArrayLike
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield (prediction, target) at the valid pixels, float64 [pixels] in metres, in blocks that are never empty.

    Raises:
        SpaceClipError: as `depth_metrics`.
    """
    predicted, truth, mask = np.asarray(prediction), np.asarray(target), np.asarray(valid, dtype=bool)
    if not predicted.shape == truth.shape == mask.shape:
        raise SpaceClipError(
            f"the prediction is {list(predicted.shape)}, the target {list(truth.shape)} and the valid mask "
            f"{list(mask.shape)}, expected one shape: resize the prediction to the ground truth before scoring"
        )
    if not mask.any():
        raise SpaceClipError(f"none of {mask.size} pixels is valid, expected at least one: leave this image out")
    predicted, truth, mask = predicted.ravel(), truth.ravel(), mask.ravel()
    for start in range(0, mask.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        keep = mask[block]
        if keep.any():
            yield _positive("prediction", predicted[block][keep]), _positive("target", truth[block][keep])


def _positive(name: str, depth: NDArray) -> NDArray[np.float64]:
    if not (depth.min() > 0 and depth.max() < math.inf):  # false for NaN too
        wrong = depth[~((depth > 0) & (depth < math.inf))][0]
        raise SpaceClipError(
            f"the {name} is {wrong} at a valid pixel, expected a positive finite depth in metres: "
            "clip it to the depth range first, and if it is not a number look for the fault in the weights"
        )
    return depth.astype(np.float64)


def abs_rel_by_depth(
    prediction: ArrayLike, target: ArrayLike, valid: ArrayLike, edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum |p - g| / g and count pixels in bins of the true depth: float64 [2, K] for K + 1 rising edges in metres.

    Sums, so that images add up; a pixel beyond the outer edges falls into the outer bin.

    Raises:
        SpaceClipError: as `depth_metrics`.
    """
    bins = len(edges) - 1
    sums = np.zeros((2, bins))
    for predicted, truth in valid_blocks(prediction, target, valid):
        place = np.searchsorted(edges[1:-1], truth, side="right")
        sums[0] += np.bincount(place, weights=np.abs(predicted - truth) / truth, minlength=bins)
        sums[1] += np.bincount(place, minlength=bins)
    return sums
