"""The depth metrics of pixel sets, all in one pass over the pixels (method.md, "Scoring")."""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cache import SpaceClipError

METRICS = ("abs_rel", "sq_rel", "mae", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")

METRIC_LABELS = {
    "abs_rel": "AbsRel ↓",
    "sq_rel": "SqRel (m) ↓",
    "mae": "MAE (m) ↓",
    "rmse": "RMSE (m) ↓",
    "rmse_log": "RMSE log ↓",
    "log10": "log10 ↓",
    "silog": "SILog ↓",
    "delta1": "δ < 1.25 ↑",
    "delta2": "δ < 1.25² ↑",
    "delta3": "δ < 1.25³ ↑",
}

# Pixels in a block that stays in the processor's cache: fresh arrays of a whole image cost more than the arithmetic.
_BLOCK = 1 << 13


def depth_metrics(prediction: ArrayLike, target: ArrayLike, valid: ArrayLike) -> dict[str, float]:
    """Score one predicted depth map against the truth, in float64 over the valid pixels.

    `prediction` and `target` are [...] in metres, `valid` is bool [...]; NumPy arrays or CPU tensors. Scaling, clipping
    and cropping are the caller's. The deltas are shares strictly below 1.25 to the power of k.

    >>> truth = np.array([1.0, 2.0, 4.0, 8.0])
    >>> metrics = depth_metrics([1.1, 2.0, 3.0, 12.0], truth, truth > 0)
    >>> {name: round(metrics[name], 4) for name in ("abs_rel", "rmse", "silog", "delta1")}
    {'abs_rel': 0.2125, 'rmse': 2.0622, 'silog': 24.7434, 'delta1': 0.5}

    Raises:
        SpaceClipError: shapes differ, no pixel is valid, or a valid pixel is not a positive finite depth.
    """
    metrics = region_metrics(prediction, target, {"valid": valid})["valid"]
    if metrics is None:
        raise _nothing_valid(valid)
    return metrics


def region_metrics(
    prediction: ArrayLike, target: ArrayLike, regions: Mapping[str, ArrayLike]
) -> dict[str, dict[str, float] | None]:
    """Score one predicted depth map over several pixel sets at once, each as `depth_metrics` does it.

    `prediction` and `target` are [...] in metres; `regions` are bool masks [...] by name and may overlap. A region
    without a pixel has no metrics but None; what lies outside all regions is not looked at.

    >>> truth = np.array([1.0, 2.0, 4.0, 8.0])
    >>> found = region_metrics([1.1, 2.0, 3.0, 12.0], truth, {"near": truth < 3, "far": truth > 3, "sky": truth > 9})
    >>> {name: metrics and round(metrics["abs_rel"], 4) for name, metrics in found.items()}
    {'near': 0.05, 'far': 0.375, 'sky': None}

    Raises:
        SpaceClipError: shapes differ, or a pixel of a region is not a positive finite depth.
    """
    masks = {name: np.asarray(mask, dtype=bool) for name, mask in regions.items()}
    predicted, truth = _flat(prediction, target, masks)
    found: dict[str, dict[str, float] | None] = dict.fromkeys(masks)
    present = [name for name, mask in masks.items() if mask.any()]
    if present:
        stacked = np.stack([masks[name].ravel() for name in present])
        found.update(zip(present, _measure(predicted, truth, stacked), strict=True))
    return found


def abs_rel_by_depth(
    prediction: ArrayLike, target: ArrayLike, valid: ArrayLike, edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum |p - g| / g and count pixels in bins of the true depth: float64 [2, K] for K + 1 rising edges in metres.

    Sums, so that images add up; a pixel beyond the outer edges falls into the outer bin.

    Raises:
        SpaceClipError: as `depth_metrics`.
    """
    mask = np.asarray(valid, dtype=bool)
    predicted, truth = _flat(prediction, target, {"valid": mask})
    if not mask.any():
        raise _nothing_valid(mask)
    bins = len(edges) - 1
    sums = np.zeros((2, bins))
    for p, g, _ in _blocks(predicted, truth, mask.reshape(1, -1)):
        place = np.searchsorted(edges[1:-1], g, side="right")
        sums[0] += np.bincount(place, weights=np.abs(p - g) / g, minlength=bins)
        sums[1] += np.bincount(place, minlength=bins)
    return sums


def abs_rel_by_place(
    prediction: NDArray, target: NDArray, valid: NDArray[np.bool_], cells: tuple[int, int]
) -> NDArray[np.float64]:
    """Sum |p - g| / g and count pixels in the cells of a grid over the frame: float64 [2, rows, columns].

    Args:
        prediction: [H, W] in metres.
        target: [H, W] in metres.
        valid: [H, W]; the pixels that count.
        cells: Rows and columns, each of a share of the frame.
    """
    row, column = ((np.arange(length) * count) // length for length, count in zip(target.shape, cells, strict=True))
    place = (row[:, None] * cells[1] + column)[valid]
    truth = target[valid].astype(np.float64)
    error = np.abs(prediction[valid] - truth) / truth
    count = cells[0] * cells[1]
    sums = np.zeros((2, count))
    sums[0], sums[1] = np.bincount(place, error, count), np.bincount(place, minlength=count)
    return sums.reshape(2, *cells)


def better(name: str) -> Literal[1, -1]:
    """The sign of a change of a metric for the better."""
    return 1 if name.startswith("delta") else -1


def positive_depth(name: str, depth: NDArray) -> NDArray:
    """Return the depths as they are.

    Raises:
        SpaceClipError: one of them is not positive and finite; the message calls them `name`.
    """
    if not (depth.min() > 0 and depth.max() < math.inf):  # false for NaN too
        raise not_a_depth(name, depth[~((depth > 0) & (depth < math.inf))][0])
    return depth


def not_a_depth(name: str, found: float) -> SpaceClipError:
    """The error that says that a map called `name` has no depth at a valid pixel but what was found."""
    return SpaceClipError(
        f"the {name} is {found} at a valid pixel, expected a positive finite depth in metres: "
        "clip it to the depth range first, and if it is not a number look for the fault in the weights"
    )


def _flat(prediction: ArrayLike, target: ArrayLike, masks: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    predicted, truth = np.asarray(prediction), np.asarray(target)
    for name, mask in masks.items():
        if not predicted.shape == truth.shape == mask.shape:
            raise SpaceClipError(
                f"the prediction is {list(predicted.shape)}, the target {list(truth.shape)} and the {name} mask "
                f"{list(mask.shape)}, expected one shape: resize the prediction to the ground truth before scoring"
            )
    return predicted.ravel(), truth.ravel()


def _measure(predicted: NDArray, truth: NDArray, masks: NDArray[np.bool_]) -> Iterator[dict[str, float]]:
    """Yield the metrics over each of the masks [R, pixels], none of them empty."""
    rows, size = len(masks), min(_BLOCK, truth.size)
    # Any shift leaves SILog as it is; a region's first value makes it exactly 0 where the ratio is constant.
    first = masks.argmax(axis=1)
    shift = np.log(_positive("prediction", predicted[first]) / _positive("target", truth[first]))[:, None]
    terms, weights, shifted = np.empty((9, size)), np.empty((rows, size)), np.empty((rows, size))
    sums, shifted_sums = np.zeros((9, rows)), np.zeros((2, rows))
    for p, g, inside in _blocks(predicted, truth, masks):
        q, w, s = (work[:, : g.size] for work in (terms, weights, shifted))
        w[...] = inside
        log_ratio = _fill_terms(q, p, g)
        sums += q @ w.T
        np.multiply(np.subtract(log_ratio, shift, out=s), w, out=s)
        shifted_sums += np.vecdot(s, s), s.sum(axis=1)
    pixels = np.array([np.count_nonzero(mask) for mask in masks])
    for means in (np.concatenate((shifted_sums, sums)) / pixels).T.tolist():
        shifted_square, shifted_mean, abs_rel, sq_rel, absolute, square, log_abs, log_square, *deltas = means
        silog = 100 * math.sqrt(max(shifted_square - shifted_mean**2, 0))
        roots = (math.sqrt(square), math.sqrt(log_square))
        values = (abs_rel, sq_rel, absolute, *roots, log_abs / math.log(10), silog, *deltas)
        yield dict(zip(METRICS, values, strict=True))


def _fill_terms(terms: NDArray[np.float64], p: NDArray[np.float64], g: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill in, pixel by pixel, what the metrics are means of [9, n]; return log p - log g [n]."""
    error, ratio = p - g, p / g
    log_ratio, worse = np.log(ratio), np.maximum(ratio, g / p)
    np.abs(error, out=terms[2])
    np.divide(terms[2], g, out=terms[0])
    np.multiply(error, error, out=terms[3])
    np.divide(terms[3], g, out=terms[1])
    np.abs(log_ratio, out=terms[4])
    np.multiply(log_ratio, log_ratio, out=terms[5])
    for k in (1, 2, 3):
        np.less(worse, 1.25**k, out=terms[5 + k])
    return log_ratio


def _blocks(
    predicted: NDArray, truth: NDArray, masks: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield (prediction [n], target [n], masks [R, n]) at the pixels of any mask, depths in metres."""
    kept = np.flatnonzero(masks.any(axis=0))
    for start in range(0, kept.size, _BLOCK):
        index = kept[start : start + _BLOCK]
        if index[-1] - index[0] < index.size:  # without gaps a view will do
            block = slice(index[0], index[-1] + 1)
            p, g, inside = predicted[block], truth[block], masks[:, block]
        else:
            p, g, inside = predicted[index], truth[index], masks.take(index, axis=1)
        yield _positive("prediction", p), _positive("target", g), inside


def _positive(name: str, depth: NDArray) -> NDArray[np.float64]:
    return positive_depth(name, depth).astype(np.float64)


def _nothing_valid(valid: ArrayLike) -> SpaceClipError:
    return SpaceClipError(f"none of {np.size(valid)} pixels is valid, expected at least one: leave this image out")
