"""What probes found, with everything that a reader must know beside it."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ...cache import Looks, SpaceClipError
from ..facts import BackboneFacts
from ..results import DATA_NAMES

PATCH_METRICS = {"r2": "R² of log depth ↑", "abs_rel": "AbsRel ↓", "rmse": "RMSE (m) ↓"}


_NAMED = 8


def ridge_text(strength: float) -> str:
    """A strength of the ridge, always with an exponent.

    >>> ridge_text(1e-5), ridge_text(0.025), ridge_text(1.0)
    ('1e-5', '2.5e-2', '1e0')
    """
    return np.format_float_scientific(strength, trim="-", exp_digits=1).replace("e+", "e")


class PatchMetrics(BaseModel):
    """Over the patches of a split, each with equal weight, of their mean depth.

    Attributes:
        r2: Share of the variance of log depth that is explained; under 0 where the split's own mean does better.
        abs_rel: Mean |p - g| / g.
        rmse: Metres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    r2: float
    abs_rel: float
    rmse: float


class PatchErrors:
    """Sums of the errors of several predictions over patches.

    Args:
        predictions: How many, M.
        depth_range: What predictions are clipped to, metres.
    """

    def __init__(self, predictions: int, depth_range: tuple[float, float]) -> None:
        self._bounds = np.log(depth_range)
        self._sums = np.zeros((3, predictions))
        self._log_sums = np.zeros(2)
        self.patches = 0

    def add(self, predicted: NDArray[np.float64], log_depth: NDArray[np.float64]) -> None:
        """Add patches: log depths predicted [n, M], and true [n]."""
        predicted = np.clip(predicted, *self._bounds)
        truth, true_log = np.exp(log_depth)[:, None], log_depth[:, None]
        error = np.exp(predicted) - truth
        self._sums += [
            np.square(predicted - true_log).sum(0),
            np.abs(error / truth).sum(0),
            np.square(error).sum(0),
        ]
        self._log_sums += log_depth.sum(), np.square(log_depth).sum()
        self.patches += len(log_depth)

    def metrics(self) -> list[PatchMetrics]:
        """Of each prediction.

        Raises:
            SpaceClipError: There are no patches, or all are as deep.
        """
        if not self.patches:
            raise SpaceClipError("no patch of the held-out split has half of its pixels within the depth range")
        total, squares = self._log_sums
        variation = squares - total**2 / self.patches
        if variation <= 1e-12 * max(squares, 1):
            raise SpaceClipError("all patches of the held-out split are as deep: R2 says nothing of them")
        log_squares, relative, squared = self._sums
        columns = (1 - log_squares / variation, relative / self.patches, np.sqrt(squared / self.patches))
        return [
            PatchMetrics(r2=r2, abs_rel=abs_rel, rmse=rmse)
            for r2, abs_rel, rmse in zip(*(column.tolist() for column in columns), strict=True)
        ]


class ProbedSplit(BaseModel):
    """A split as a probe saw it.

    Attributes:
        split: `train`, `val` or `test`.
        stores: Digests of what was read.
        images: Usable ones.
        quarantined: Those that extraction could not read.
        scenes: That they are of.
        patches: With a depth, of all images together.
        by_sample: It was divided from others by samples, not by scenes.
        looks: How often it was looked at, this time included, if it is a test split; else None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    stores: tuple[str, ...]
    images: int
    quarantined: int
    scenes: int
    patches: int
    by_sample: bool = False
    looks: Looks | None = None

    @property
    def label(self) -> str:
        """One short line."""
        quarantined = f", {self.quarantined} quarantined" if self.quarantined else ""
        count = f"{self.images:,} images ({self.scenes:,} scenes, {self.patches:,} patches)"
        return f"{count} of the {self.split} split{quarantined}{self.looks_text}"

    @property
    def looks_text(self) -> str:
        """How often it was looked at, to stand behind its name; empty if it is no test split."""
        return f"; {self.looks}" if self.looks else ""


class Probe(BaseModel):
    """The linear map of one layer, or of two together.

    Attributes:
        layers: One or two.
        ridge: Strength, as `ridge_fits` takes it.
        metrics: On the held-out split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[int, ...]
    ridge: float
    metrics: PatchMetrics


class ProbeResults(BaseModel):
    """All probes of some features.

    Attributes:
        format: Of this file.
        data: Kind of the data set.
        name: What its features are called.
        backbone: The frozen encoder.
        storage: How its tokens are kept: `float16` or `int8`.
        depth_range: Depths that count lie strictly within; predictions are clipped to it. Metres.
        ridges: The strengths that each was chosen from.
        training: What the maps were fitted to.
        held_out: What they were scored on.
        probes: Single layers, then pairs.
        baselines: Predictions without an image, by name (see `image_free_depths`), likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    data: str
    name: str
    backbone: BackboneFacts
    storage: str
    depth_range: tuple[float, float]
    ridges: tuple[float, ...]
    training: ProbedSplit
    held_out: ProbedSplit
    probes: tuple[Probe, ...]
    baselines: dict[str, PatchMetrics]

    @property
    def singles(self) -> list[Probe]:
        """Those of one layer."""
        return [probe for probe in self.probes if len(probe.layers) == 1]

    @property
    def pairs(self) -> list[Probe]:
        """Those of two layers, the lowest AbsRel first."""
        found = (probe for probe in self.probes if len(probe.layers) == 2)
        return sorted(found, key=lambda probe: probe.metrics.abs_rel)

    def best_baseline(self, metric: str) -> str:
        """Name of the prediction without an image that is best by a metric."""
        sign = -1 if metric == "r2" else 1
        return min(self.baselines, key=lambda name: sign * getattr(self.baselines[name], metric))

    def require_same_patches(self, other: "ProbeResults") -> None:
        """Other probes must be of the same patches, else they cannot be set beside these.

        Raises:
            SpaceClipError: They were fitted to others, or scored on others.
        """
        # What predictions without an image score follows from the depths of both splits alone.
        ours, theirs = (
            [value for metrics in results.baselines.values() for value in metrics.model_dump().values()]
            for results in (self, other)
        )
        if self.depth_range != other.depth_range or not np.allclose(ours, theirs, rtol=1e-6):
            raise other.of_other_patches(self.name)

    def of_other_patches(self, name: str) -> SpaceClipError:
        """Why these cannot be set beside the probes of a name."""
        return SpaceClipError(
            f"probes of {self.name} cannot stand beside those of {name}: they were fitted to or scored on other "
            "patches; probe features of the same images, split and --max-depth"
        )

    @property
    def caption(self) -> str:
        """What all numbers are, a line each."""
        low, high = self.depth_range
        ridge = ", ".join(map(ridge_text, self.ridges))
        chosen = f"the one of {ridge} that predicts best from half of the train scenes to the other"
        what = f"linear probes of a patch token to the mean depth of its patch, {low:g} to {high:g} m"
        return "\n".join(
            (
                f"{self._title}: {what}",
                f"scored on {self.held_out.label}",
                f"fitted to {self.training.label}; plain view, {self.storage} features",
                f"ridge: {chosen if len(self.ridges) > 1 else ridge}",
                self._encoder,
            )
        )

    @property
    def views_caption(self) -> str:
        """What views of the held-out images are of, a line each."""
        images = f"images of the {self.held_out.split} split{self.held_out.looks_text}"
        return f"{self._title}: {images}\n{self.storage} features, {self._encoder}"

    @property
    def _title(self) -> str:
        return f"{DATA_NAMES.get(self.data, self.data)}, features {self.name}"

    @property
    def _encoder(self) -> str:
        random = ", RANDOM WEIGHTS: the numbers say nothing of CLIP" if self.backbone.random else ""
        return f"encoder {self.backbone.label}{random}"

    @property
    def warnings(self) -> Iterator[str]:
        """What makes the numbers mean less than they seem to, a sentence each."""
        if self.held_out.split == "test":
            yield "this is a look at the test split: choose nothing by it"
        if self.training.by_sample or self.held_out.by_sample:
            yield (
                f"train and {self.held_out.split} were divided by samples (ratio), not by scenes, and may show the "
                "same places: the numbers flatter"
            )
        for metric, label in PATCH_METRICS.items():
            best = getattr(self.baselines[self.best_baseline(metric)], metric)
            values = [getattr(probe.metrics, metric) for probe in self.probes]
            if (max(values) <= best) if metric == "r2" else (min(values) >= best):
                yield f"no probe is better than the best prediction without an image by {label.rstrip(' ↓↑')}"
        if len(self.ridges) > 1:
            for end, name in ((min(self.ridges), "smallest"), (max(self.ridges), "largest")):
                if taking := [" + ".join(map(str, probe.layers)) for probe in self.probes if probe.ridge == end]:
                    which = ", ".join(taking[:_NAMED]) + f" and {len(taking) - _NAMED} more" * (len(taking) > _NAMED)
                    yield (
                        f"{len(taking)} of {len(self.probes)} probes take the {name} ridge tried, {ridge_text(end)} "
                        f"(hidden states {which}): others beyond may do better (--ridge)"
                    )
