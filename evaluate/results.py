"""A result with everything that a reader must know beside it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .boundary import REGIONS
from .metrics import METRICS
from .protocol import Protocol
from .scoring import Scores, mean_metrics


def _all_nine(metrics: dict[str, float]) -> dict[str, float]:
    if set(metrics) != set(METRICS):
        raise ValueError(f"found the metrics {', '.join(metrics) or 'none'}, expected {', '.join(METRICS)}")
    return metrics


Metrics = Annotated[dict[str, float], AfterValidator(_all_nine)]


class CheckpointFacts(BaseModel):
    """Which weights were scored: the raw ones or their moving average, of which epoch, from which file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["checkpoint"] = "checkpoint"
    path: str
    sha256: str
    epoch: int
    weights: Literal["raw", "ema"]
    chosen: Literal["best", "last"]

    @property
    def label(self) -> str:
        """One short line."""
        weights = {"raw": "raw", "ema": "EMA"}[self.weights]
        chosen = {"best": "best on validation", "last": "the last"}[self.chosen]
        return f"{self.path}, {weights} weights of epoch {self.epoch} ({chosen}), sha256 {self.sha256[:12]}"


class SavedMapsFacts(BaseModel):
    """Depth maps of any model, read from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["saved maps"] = "saved maps"
    path: str
    name: str
    depth_scale: float | None

    @property
    def label(self) -> str:
        """One short line."""
        scale = f", {self.depth_scale:g} counts a metre" if self.depth_scale else ""
        return f"{self.name} ({self.path}{scale})"


class BackboneFacts(BaseModel):
    """Which frozen encoder made the features; a random one says so in `revision`, with its seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str
    random: bool

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> Self:
        """From the backbone's identity in a store or checkpoint."""
        name = str(identity["name"])
        return cls(name=name, revision=str(identity["revision"]), random=name.startswith("random:"))

    @property
    def label(self) -> str:
        """One short line."""
        return f"{self.name} ({self.revision if self.random else self.revision[:12]})"


class RegionMean(BaseModel):
    """The mean metrics of a boundary or interior, over the images that have one; no metrics where none has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
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
        skipped: Ids of those that were not: without a valid pixel, without any ground truth, or quarantined.
        metrics: Mean over images, each with equal weight.
        regions: Likewise for boundaries and interiors, by name (see `REGIONS`).
        scenes: Likewise for each scene.
        baseline: `metrics` of the mean depth map of the training set, on the same images; None without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Protocol
    split: str
    images: int
    skipped: tuple[str, ...]
    metrics: Metrics
    regions: dict[str, RegionMean]
    scenes: dict[str, SceneMean]
    baseline: Metrics | None

    @classmethod
    def of(cls, split: str, scores: Scores, baseline: Scores | None, unusable: tuple[str, ...] = ()) -> Self:
        """From the scores of a prediction and of the mean depth map, and the ids of images that could not be used."""
        regions = {name: scores.region(name) for name in REGIONS}
        return cls(
            protocol=scores.protocol,
            split=split,
            images=len(scores.images),
            skipped=scores.skipped + unusable,
            metrics=scores.mean,
            regions={name: RegionMean(images=count, metrics=mean) for name, (count, mean) in regions.items()},
            scenes={
                scene: SceneMean(images=len(images), metrics=mean_metrics([image.metrics for image in images]))
                for scene, images in scores.scenes().items()
            },
            baseline=baseline.mean if baseline else None,
        )

    @property
    def count(self) -> str:
        """How many images, of which split."""
        skipped = f", {len(self.skipped)} skipped without a valid pixel" if self.skipped else ""
        return f"mean over {self.images} images of the {self.split} split{skipped}"


class Results(BaseModel):
    """What one evaluation found.

    Attributes:
        data: Kind of the data set: `kitti`, `nyu`, `folder` or `synthetic`.
        model: What was scored.
        backbone: The encoder it reads; None for saved maps.
        rows: One for each protocol and variant, what counts most first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    model: CheckpointFacts | SavedMapsFacts
    backbone: BackboneFacts | None
    rows: tuple[Row, ...] = Field(min_length=1)

    @property
    def origin(self) -> str:
        """What made the predictions, a line each."""
        backbone = f"\nbackbone: {self.backbone.label}" if self.backbone else ""
        return f"{self.model.kind}: {self.model.label}{backbone}"

    def caption(self, row: Row) -> str:
        """What the numbers of a row are: data set, protocol, images, weights and backbone."""
        return f"{self.data}, {row.protocol.label}\n{row.count}\n{self.origin}"
