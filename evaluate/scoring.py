"""Scoring of depth maps under a protocol: one image, then the mean over many (method.md, "Scoring")."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cache import SpaceClipError
from .crops import crop_mask
from .metrics import METRICS, abs_rel_by_depth, depth_metrics
from .protocol import Protocol

_DEPTH_BINS = 10


class Prediction(NamedTuple):
    """A predicted depth map beside its ground truth, both float32 [H, W] in metres; a truth of 0 is unknown."""

    sample_id: str
    scene: str | None
    depth: NDArray[np.float32]
    ground_truth: NDArray[np.float32]


@dataclass(frozen=True)
class ImageScore:
    """The metrics of one image."""

    sample_id: str
    scene: str | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """The metrics of a set of images under one protocol.

    Attributes:
        protocol: what they were measured under.
        images: one row an image.
        skipped: ids of the images without a valid pixel; they are in no row and no mean.
        mean: over images, each with equal weight.
        depth_edges: [K + 1] bins of the true depth, in metres.
        depth_abs_rel: [K] AbsRel over all pixels of a bin together; NaN where the bin is empty.
    """

    protocol: Protocol
    images: tuple[ImageScore, ...]
    skipped: tuple[str, ...]
    mean: dict[str, float]
    depth_edges: NDArray[np.float64]
    depth_abs_rel: NDArray[np.float64]


def prepare(prediction: NDArray, ground_truth: NDArray, protocol: Protocol) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the prediction [H, W] as the protocol scores it, and the bool [H, W] mask of the pixels it scores.

    The prediction is scaled by the ratio of medians where the protocol says so, then clipped to the depth range. Valid
    is what lies strictly inside the range and inside the crop; the medians are over those pixels.

    Raises:
        SpaceClipError: the sizes differ, the crop does not fit, or the median prediction is 0 and cannot be scaled.
    """
    if prediction.shape != ground_truth.shape or ground_truth.ndim != 2:
        raise SpaceClipError(
            f"the prediction is {list(prediction.shape)} and the ground truth {list(ground_truth.shape)}, "
            "expected one [H, W]: resize the prediction before scoring"
        )
    valid = (ground_truth > protocol.min_depth) & (ground_truth < protocol.max_depth)
    valid &= crop_mask(protocol.crop, *ground_truth.shape)
    if protocol.median_scaling and valid.any():
        median = float(np.median(prediction[valid]))
        if not median > 0:
            raise SpaceClipError(
                f"the median prediction is {median:g} m, expected more than 0 to scale by it: "
                "score without median scaling, or train the decoder further"
            )
        prediction = prediction * (float(np.median(ground_truth[valid])) / median)
    return np.clip(prediction, protocol.min_depth, protocol.max_depth), valid


def score_image(prediction: NDArray, ground_truth: NDArray, protocol: Protocol) -> dict[str, float] | None:
    """Score one prediction against a ground truth of its size, both [H, W] in metres; None if no pixel is valid.

    Raises:
        SpaceClipError: as `prepare`, or a prediction is not a number.
    """
    depth, valid = prepare(prediction, ground_truth, protocol)
    return depth_metrics(depth, ground_truth, valid) if valid.any() else None


def score(predictions: Iterable[Prediction], protocol: Protocol) -> Scores:
    """Score every prediction, then average over the images.

    Raises:
        SpaceClipError: no image has a valid pixel, or one cannot be scored; the message names it.
    """
    images: list[ImageScore] = []
    skipped: list[str] = []
    edges = np.linspace(protocol.min_depth, protocol.max_depth, _DEPTH_BINS + 1)
    by_depth = np.zeros((2, _DEPTH_BINS))
    for sample_id, scene, prediction, ground_truth in predictions:
        try:
            depth, valid = prepare(prediction, ground_truth, protocol)
            if not valid.any():
                skipped.append(sample_id)
                continue
            images.append(ImageScore(sample_id, scene, depth_metrics(depth, ground_truth, valid)))
        except SpaceClipError as error:
            raise SpaceClipError(f"{sample_id}: {error}") from error
        by_depth += abs_rel_by_depth(depth, ground_truth, valid, edges)
    return Scores(
        protocol=protocol,
        images=tuple(images),
        skipped=tuple(skipped),
        mean=mean_metrics([image.metrics for image in images], protocol),
        depth_edges=edges,
        depth_abs_rel=np.divide(by_depth[0], by_depth[1], out=np.full(_DEPTH_BINS, np.nan), where=by_depth[1] > 0),
    )


def mean_metrics(images: Sequence[dict[str, float]], protocol: Protocol) -> dict[str, float]:
    """Average the metrics of images, each with equal weight.

    Raises:
        SpaceClipError: there is none.
    """
    if not images:
        raise SpaceClipError(
            f"no image has a valid pixel under the {protocol.label}, expected at least one: "
            "look at the crop, the depth range and the ground truth's unit"
        )
    return {name: float(np.mean([metrics[name] for metrics in images])) for name in METRICS}
