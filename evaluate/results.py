"""A result with everything that a reader must know beside it."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..cache import Looks
from ..train import range_warning
from .boundary import REGIONS
from .breakdown import Breakdown
from .facts import BackboneFacts, CheckpointFacts, SavedMapsFacts
from .metrics import METRIC_LABELS, METRICS, better
from .protocol import Protocol
from .scoring import WHOLE, Scores, mean_metrics

WITHOUT_AN_IMAGE = "no better than the best prediction without an image by"
"""How a warning begins that is of baselines alone."""

NEARLY_CONSTANT = 0.1
"""Predictions that vary less than this share of the truth, over pixels or over images, are called nearly constant."""


def _all_of_them(metrics: dict[str, float]) -> dict[str, float]:
    if set(metrics) != set(METRICS):
        raise ValueError(f"found the metrics {', '.join(metrics) or 'none'}, expected {', '.join(METRICS)}")
    return metrics


Metrics = Annotated[dict[str, float], AfterValidator(_all_of_them)]


def best_baselines(baselines: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """For each metric the name of the baseline that is best by it; empty without baselines."""
    if not baselines:
        return {}
    return {name: max(baselines, key=lambda of: better(name) * baselines[of][name]) for name in METRICS}


def no_better(metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The metrics by which numbers are no better than the best of the baselines."""
    return [
        name
        for name, of in best_baselines(baselines).items()
        if better(name) * metrics[name] <= better(name) * baselines[of][name]
    ]


class RegionMean(BaseModel):
    """The mean metrics of a boundary or interior, over the images that have one; no metrics where none has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    pixels: int
    metrics: Metrics | None


class SceneMean(BaseModel):
    """The mean metrics of the images of one scene."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    metrics: Metrics


class Row(BaseModel):
    """The mean metrics over the images of one split, under one protocol.

    Attributes:
        protocol: What they were measured under.
        split: `val` or `test`.
        images: How many were scored.
        distinct: How many of them differ, by their decoded pictures and truths; None if that was not looked at.
        pixels: Valid pixels of all these images together.
        measured: Pixels of the crop with a depth, in the range or not, in all images; None if that was not looked at.
        mean_depth: Of those, in metres.
        skipped: Ids of those that were not: without a valid pixel, or without any ground truth.
        quarantined: Ids of those that extraction could not read.
        samples_sha256: Of the ids of all images of the split.
        features_sha256: Digest of the store that was read, its depth included; None for saved maps.
        list_sha256: Of the list that named the images; None where there is none.
        storage: How the features that were read are kept: `float16` or `int8`; None for saved maps.
        looks: How often the test split was looked at, this time included; None of other splits.
        metrics: Mean over images, each with equal weight.
        regions: Likewise for boundaries and interiors, by name (see `REGIONS`).
        scenes: Likewise for each scene.
        baselines: Likewise for predictions without an image (see `image_free_depths`), by name; none for saved maps.
        breakdown: AbsRel by depth, place and scene; None in results that do not have it.
        baseline_breakdown: Likewise of the baseline of the lowest AbsRel; None without one.
        variation: How much predictions vary over pixels and over images as a share of the truth (`Variation.ratios`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Protocol
    split: str
    images: int
    distinct: int | None = None
    pixels: int
    measured: int | None = None
    mean_depth: float | None = None
    skipped: tuple[str, ...]
    quarantined: tuple[str, ...] = ()
    samples_sha256: str | None = None
    features_sha256: str | None = None
    list_sha256: str | None = None
    storage: str | None = None
    looks: Looks | None = None
    metrics: Metrics
    regions: dict[str, RegionMean]
    scenes: dict[str, SceneMean]
    baselines: dict[str, Metrics]
    breakdown: Breakdown | None = None
    baseline_breakdown: Breakdown | None = None
    variation: dict[str, float | None]

    def is_of(self, samples_sha256: str, features_sha256: str) -> bool:
        """Whether these images were scored; of results that do not say which features, whether these samples were."""
        return self.samples_sha256 == samples_sha256 and self.features_sha256 in (features_sha256, None)

    @classmethod
    def of(cls, scores: Scores, baselines: Mapping[str, Scores], **facts: Any) -> Self:
        """From the scores of a prediction and of the baselines, and what is known of the images by field."""
        regions = {name: scores.region(name) for name in REGIONS}
        best = min(baselines.values(), key=lambda found: found.mean["abs_rel"], default=None)
        return cls(
            protocol=scores.protocol,
            images=len(scores.images),
            pixels=scores.pixels(WHOLE),
            measured=scores.measured,
            mean_depth=scores.mean_depth,
            skipped=scores.skipped,
            **facts,
            metrics=scores.mean,
            regions={
                name: RegionMean(images=count, pixels=scores.pixels(name), metrics=mean)
                for name, (count, mean) in regions.items()
            },
            scenes={
                scene: SceneMean(images=len(images), metrics=mean_metrics([image.metrics for image in images]))
                for scene, images in scores.scenes().items()
            },
            baselines={name: found.mean for name, found in baselines.items()},
            breakdown=scores.breakdown,
            baseline_breakdown=best.breakdown if best else None,
            variation=scores.variation,
        )

    @property
    def best_baselines(self) -> dict[str, str]:
        """For each metric the name of the baseline that is best by it; empty without baselines."""
        return best_baselines(self.baselines)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the numbers mean less than they seem to, a sentence each."""
        found = []
        flat = {over: ratio for over, ratio in self.variation.items() if ratio is not None and ratio < NEARLY_CONSTANT}
        if flat:
            shares = " and ".join(f"over {over} {ratio:.1%}" for over, ratio in flat.items())
            found.append(f"predictions are nearly constant: log depth varies {shares} as much as the truth's")
        worse = [METRIC_LABELS[name].rstrip(" ↓↑") for name in no_better(self.metrics, self.baselines)]
        if worse:
            found.append(f"{WITHOUT_AN_IMAGE} {', '.join(worse)}")
        if self.measured and self.mean_depth is not None:
            outside = range_warning(self.pixels / self.measured, self.mean_depth, *self.protocol.depth_range)
            found += [outside] if outside else []
        return tuple(found)

    @property
    def regions_abs_rel(self) -> dict[str, float]:
        """AbsRel of the boundaries and interiors that there are, as `boundary_0.05_abs_rel`."""
        return {f"{name}_abs_rel": found.metrics["abs_rel"] for name, found in self.regions.items() if found.metrics}

    @property
    def count(self) -> str:
        """How many images, of which split, how their features are kept, and how often a test split was looked at."""
        skipped = f", {len(self.skipped)} skipped without a valid pixel" if self.skipped else ""
        quarantined = f", {len(self.quarantined)} quarantined" if self.quarantined else ""
        storage = f", {self.storage} features" if self.storage else ""
        distinct = f" ({self.distinct} distinct)" if self.distinct not in (None, self.images) else ""
        looks = f"; {self.looks}" if self.looks else ""
        return (
            f"mean over {self.images} images{distinct} of the {self.split} split{skipped}{quarantined}{storage}{looks}"
        )


DATA_NAMES = {"kitti": "KITTI", "nyu": "NYU Depth V2"}


class Results(BaseModel):
    """What one evaluation found.

    Attributes:
        data: Kind of the data set: `kitti`, `nyu`, `folder` or `synthetic`.
        name: What its features are called, which names anybody's own data.
        model: What was scored.
        backbone: The encoder it reads; None for saved maps.
        rows: One for each protocol and variant, what counts most first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    name: str = ""
    model: CheckpointFacts | SavedMapsFacts
    backbone: BackboneFacts | None
    rows: tuple[Row, ...] = Field(min_length=1)

    @property
    def title(self) -> str:
        """The data set's own name."""
        return DATA_NAMES.get(self.data) or (self.name if self.data == "folder" and self.name else self.data)

    @property
    def origin(self) -> str:
        """What made the predictions, a line each."""
        backbone = f"\nbackbone: {self.backbone.label}" if self.backbone else ""
        return f"{self.model.kind}: {self.model.label}{backbone}"

    def caption(self, row: Row) -> str:
        """What the numbers of a row are: data set, protocol, images, weights and backbone."""
        return f"{self.title}, {row.protocol.label}\n{row.count}\n{self.origin}"
