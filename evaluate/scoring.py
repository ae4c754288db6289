"""Scoring of depth maps under protocols: one image, then the mean over many (method.md, "Scoring")."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache import SpaceClipError
from ..train import resize
from .boundary import boundary_regions
from .breakdown import Breakdown
from .crops import crop_mask
from .metrics import METRICS, abs_rel_by_depth, abs_rel_by_place, region_metrics
from .protocol import Protocol, Size
from .variation import Variation

PLAIN, AVERAGED, SAVED = "plain", "averaged", "saved"
WHOLE = "valid"

_DEPTH_BINS = 14
_PLACES = (6, 8)


class DepthMaps(NamedTuple):
    """Everything that is scored of one image.

    Attributes:
        row: Of the split.
        sample_id: Its name.
        scene: Where it was taken.
        depths: Predictions [h, w] in metres, of any size, by who made them: `PLAIN`, `AVERAGED`, `SAVED`.
        truths: Ground truth [H, W] in metres, 0 where unknown, by the size it was brought to; None for native.
    """

    row: int
    sample_id: str
    scene: str | None
    depths: Mapping[str, Tensor]
    truths: Mapping[Size | None, NDArray[np.float32]]


@dataclass(frozen=True)
class ImageScore:
    """The metrics and pixels of one image, by region (`valid` is all that is scored); None for one without a pixel."""

    sample_id: str
    scene: str | None
    counts: dict[str, int]
    regions: dict[str, dict[str, float] | None]

    @property
    def pixels(self) -> int:
        """How many were scored."""
        return self.counts[WHOLE]

    @property
    def metrics(self) -> dict[str, float]:
        """Over all pixels that are scored."""
        found = self.regions[WHOLE]
        assert found is not None
        return found


@dataclass(frozen=True)
class Scores:
    """The metrics of a set of images under one protocol.

    Attributes:
        protocol: What they were measured under.
        images: One entry an image.
        skipped: Ids of the images without a valid pixel; they are in no entry and no mean.
        measured: Pixels of the crop with a depth, in the range or not, those of skipped images too.
        mean_depth: Of those, in metres.
        depth_edges: [K + 1] bins of the true depth, in metres.
        depth_abs_rel: [K] AbsRel over all pixels of a bin together; NaN where the bin is empty.
        depth_pixels: [K] how many those are.
        place_abs_rel: [rows, columns] likewise for the cells of a grid over the frame; None where it was not scored.
        variation: See `Variation.ratios`.
    """

    protocol: Protocol
    images: tuple[ImageScore, ...]
    skipped: tuple[str, ...]
    measured: int
    mean_depth: float
    depth_edges: NDArray[np.float64]
    depth_abs_rel: NDArray[np.float64]
    depth_pixels: NDArray[np.int64]
    place_abs_rel: NDArray[np.float64] | None
    variation: dict[str, float | None]

    @property
    def mean(self) -> dict[str, float]:
        """Over images, each with equal weight."""
        return mean_metrics([image.metrics for image in self.images])

    @property
    def breakdown(self) -> Breakdown:
        """AbsRel by depth, by place, and by scene."""
        scenes = {
            name: float(np.mean([image.metrics["abs_rel"] for image in images]))
            for name, images in self.scenes().items()
        }
        return Breakdown.of(self.depth_edges, self.depth_abs_rel, self.depth_pixels, self.place_abs_rel, scenes)

    def region(self, name: str) -> tuple[int, dict[str, float] | None]:
        """Number of images that have the region, and the mean over them; None without one."""
        found = [metrics for image in self.images if (metrics := image.regions.get(name)) is not None]
        return len(found), mean_metrics(found) if found else None

    def pixels(self, region: str) -> int:
        """Pixels of a region in all images together."""
        return sum(image.counts.get(region, 0) for image in self.images)

    def scenes(self) -> dict[str, list[ImageScore]]:
        """The images of each named scene."""
        found: dict[str, list[ImageScore]] = {}
        for image in self.images:
            if image.scene is not None:
                found.setdefault(image.scene, []).append(image)
        return found


@dataclass
class Scorer:
    """Scores images one by one under a protocol.

    Attributes:
        protocol: The protocol.
        regions: Whether boundaries, interiors and places in the frame are scored too.
    """

    protocol: Protocol
    regions: bool = True
    _images: list[ImageScore] = field(default_factory=list, init=False)
    _skipped: list[str] = field(default_factory=list, init=False)
    _measured: int = field(default=0, init=False)
    _metres: float = field(default=0.0, init=False)
    _variation: Variation = field(default_factory=Variation, init=False)
    _by_depth: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, _DEPTH_BINS)), init=False)
    _by_place: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, *_PLACES)), init=False)

    def add(self, sample_id: str, scene: str | None, prediction: NDArray, ground_truth: NDArray) -> None:
        """Score one prediction against a ground truth of its size, both [H, W] in metres.

        Raises:
            SpaceClipError: As `prepare`, or the prediction is not a number; the message names the image.
        """
        try:
            depth, valid = prepare(prediction, ground_truth, self.protocol)
            measured = ground_truth[(ground_truth > 0) & crop_mask(self.protocol.crop, *ground_truth.shape)]
            self._measured += measured.size
            self._metres += float(measured.sum(dtype=np.float64))
            if not valid.any():
                self._skipped.append(sample_id)
                return
            masks = {WHOLE: valid} | (boundary_regions(ground_truth, valid) if self.regions else {})
            found = region_metrics(depth, ground_truth, masks)
            self._by_depth += abs_rel_by_depth(depth, ground_truth, valid, self._edges)
            if self.regions:
                self._by_place += abs_rel_by_place(depth, ground_truth, valid, _PLACES)
            self._variation.add(depth, ground_truth, valid)
        except SpaceClipError as error:
            raise SpaceClipError(f"{sample_id}: {error}") from error
        counts = {name: int(np.count_nonzero(mask)) for name, mask in masks.items()}
        self._images.append(ImageScore(sample_id, scene, counts, found))

    @property
    def skipped(self) -> tuple[str, ...]:
        """Ids of the images without a valid pixel so far."""
        return tuple(self._skipped)

    def scores(self) -> Scores:
        """What was scored so far.

        Raises:
            SpaceClipError: No image has a valid pixel.
        """
        if not self._images:
            raise nothing_valid(self.protocol)
        by_depth, by_place = _means(self._by_depth), _means(self._by_place) if self.regions else None
        images, skipped = tuple(self._images), self.skipped
        mean_depth = self._metres / self._measured
        parts = (self._edges, by_depth, self._by_depth[1].astype(np.int64), by_place)
        return Scores(self.protocol, images, skipped, self._measured, mean_depth, *parts, self._variation.ratios())

    @property
    def _edges(self) -> NDArray[np.float64]:
        # Half octaves: half of all pixels of a street lie within a tenth of its range.
        edges = self.protocol.max_depth * 2.0 ** (np.arange(-_DEPTH_BINS, 1) / 2)
        return np.concatenate(([self.protocol.min_depth], np.maximum(edges[1:], self.protocol.min_depth)))


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over counts; NaN where there is none."""
    total, pixels = sums
    return np.divide(total, pixels, out=np.full(total.shape, np.nan), where=pixels > 0)


def nothing_valid(protocol: Protocol) -> SpaceClipError:
    """The error that says that a protocol left no pixel of any image to score."""
    return SpaceClipError(
        f"no image has a valid pixel under the {protocol.label}, expected at least one: "
        "look at the crop, the depth range and the ground truth's unit"
    )


def valid_pixels(ground_truth: NDArray, protocol: Protocol) -> NDArray[np.bool_]:
    """Bool [H, W] of the pixels that a protocol scores: those strictly inside its range and inside its crop.

    Raises:
        SpaceClipError: The crop does not fit.
    """
    in_range = (ground_truth > protocol.min_depth) & (ground_truth < protocol.max_depth)
    return in_range & crop_mask(protocol.crop, *ground_truth.shape)


def prepare(prediction: NDArray, ground_truth: NDArray, protocol: Protocol) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the prediction [H, W] as the protocol scores it, and the bool [H, W] mask of the pixels it scores.

    The prediction is scaled by the ratio of medians where the protocol says so, then clipped to the depth range. Valid
    is what lies strictly inside the range and inside the crop; the medians are over those pixels.

    Raises:
        SpaceClipError: The sizes differ, the crop does not fit, or the median prediction is 0 and cannot be scaled.
    """
    if prediction.shape != ground_truth.shape or ground_truth.ndim != 2:
        raise SpaceClipError(
            f"the prediction is {list(prediction.shape)} and the ground truth {list(ground_truth.shape)}, "
            "expected one [H, W]: resize the prediction before scoring"
        )
    valid = valid_pixels(ground_truth, protocol)
    if protocol.median_scaling and valid.any():
        median = float(np.median(prediction[valid]))
        if not median > 0:
            raise SpaceClipError(
                f"the median prediction is {median:g} m, expected more than 0 to scale by it: "
                "score without median scaling, or train the decoder further"
            )
        prediction = prediction * (float(np.median(ground_truth[valid])) / median)
    return np.clip(prediction, protocol.min_depth, protocol.max_depth), valid


def score(maps: Iterable[DepthMaps], scorers: Sequence[tuple[str, Scorer]]) -> None:
    """Score every image, in one pass, with each of the scorers; each is given the prediction of its name.

    Raises:
        SpaceClipError: An image cannot be scored; the message names it.
    """
    for image in maps:
        resized: dict[tuple[str, Size], NDArray[np.float32]] = {}
        for name, scorer in scorers:
            truth = image.truths[scorer.protocol.size]
            size = (truth.shape[0], truth.shape[1])
            if (name, size) not in resized:
                resized[name, size] = to_size(image.depths[name], size)
            scorer.add(image.sample_id, image.scene, resized[name, size], truth)


def to_size(depth: Tensor, size: Size) -> NDArray[np.float32]:
    """Resize a map [h, w] in metres bilinearly (corners not aligned) to float32 [H, W] in main memory."""
    return resize(depth[None, None].float(), size)[0, 0].cpu().numpy()


def as_map(depth: NDArray[np.float32]) -> Tensor:
    """A map [h, w] in metres as `DepthMaps` holds it."""
    return torch.from_numpy(np.ascontiguousarray(depth))


def mean_metrics(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average the metrics of images, each with equal weight."""
    return {name: float(np.mean([metrics[name] for metrics in images])) for name in METRICS}
