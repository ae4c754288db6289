"""What came of a study: every run by arm and seed, none left out, and what arms come to over the seeds."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ...cache import SpaceClipError
from ...evaluate import BackboneFacts, Protocol

STUDY = "study.json"


class RunResult(BaseModel):
    """One run.

    Attributes:
        seed: Its seed.
        status: `trained`, `failed`, or `open` while it is neither.
        metrics: On validation; empty unless it is trained.
        weights: Whether raw or EMA weights were kept.
        epoch: Their epoch, from 1.
        chosen: Whether they are the best on validation or the last.
        note: Why it failed, or that it collapsed, with the numbers by which that is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    status: Literal["trained", "failed", "open"]
    metrics: dict[str, float] = {}
    weights: Literal["raw", "ema"] | None = None
    epoch: int | None = None
    chosen: Literal["best", "last"] | None = None
    note: str = ""


class Start(BaseModel):
    """What an arm's initial weights have in common with those of the first.

    Attributes:
        parameters: So many are the same, for each seed.
        weights: Names of the weights that are.
        leading: Names of those of which only the leading input channels are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: int
    weights: list[str]
    leading: list[str]


class Spread(BaseModel):
    """A number over seeds.

    Attributes:
        mean: Over the seeds that have it.
        deviation: Sample standard deviation; None of a single seed.
        seeds: How many have it.
        agree: Of a difference: for how many seeds its sign is that of the mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    deviation: float | None
    seeds: int
    agree: int | None = None

    @classmethod
    def of(cls, values: Sequence[float], *, paired: bool = False) -> "Spread | None":
        """Of some values; None where there are none."""
        if not values:
            return None
        mean = statistics.fmean(values)
        agree = sum(value * mean > 0 for value in values) if paired else None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(mean=mean, deviation=deviation, seeds=len(values), agree=agree)


class ArmResult(BaseModel):
    """One arm over all seeds.

    Attributes:
        name: Its name.
        own: The settings that tell it from the base.
        parameters: Of its network.
        start: What it starts from of the first arm's initial weights.
        runs: One a seed, in the order of the study's.
        metrics: By metric, over the seeds that it was trained with.
        differences: By metric, to the first arm, over the seeds that both were trained with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    own: dict[str, Any]
    parameters: int
    start: Start
    runs: list[RunResult]
    metrics: dict[str, Spread]
    differences: dict[str, Spread]

    @classmethod
    def of(
        cls,
        name: str,
        own: Mapping[str, Any],
        parameters: int,
        start: Start,
        runs: Sequence[RunResult],
        first: Sequence[RunResult],
    ) -> "ArmResult":
        """From its runs, and those of the first arm with the same seeds."""
        names = next((run.metrics for run in runs if run.metrics), {})
        pairs = [] if runs is first else _pairs(runs, first)
        metrics = {name: Spread.of([run.metrics[name] for run in runs if run.metrics]) for name in names}
        apart = {name: Spread.of([own[name] - other[name] for own, other in pairs], paired=True) for name in names}
        return cls(
            name=name,
            own=dict(own),
            parameters=parameters,
            start=start,
            runs=list(runs),
            metrics={name: spread for name, spread in metrics.items() if spread},
            differences={name: spread for name, spread in apart.items() if spread},
        )

    def apart(self, first: "ArmResult", metric: str) -> list[float]:
        """By how much a metric differs from that of another arm, for each seed that both were trained with."""
        return [own[metric] - other[metric] for own, other in _pairs(self.runs, first.runs)]


def _pairs(runs: Sequence[RunResult], others: Sequence[RunResult]) -> list[tuple[dict[str, float], dict[str, float]]]:
    both = [(run.metrics, other.metrics) for run, other in zip(runs, others, strict=True)]
    return [(own, other) for own, other in both if own and other]


class StudyResults(BaseModel):
    """A study's results, as `study.json` has them.

    Attributes:
        format: Of this file.
        study: Name of the study.
        base: The experiment's file.
        protocol: What validation measures.
        images: Of the validation split.
        backbone: The frozen encoder.
        stores: Fingerprints of the stores of each split.
        seeds: Of the study.
        arms: In its order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    study: str
    base: str
    protocol: Protocol
    images: int
    backbone: BackboneFacts
    stores: dict[str, list[str]]
    seeds: list[int]
    arms: list[ArmResult]

    @property
    def caption(self) -> str:
        """What all numbers are, in one line."""
        encoder = f"encoder {self.backbone.label}"
        if self.backbone.random:
            encoder = f"{encoder}, RANDOM WEIGHTS: the numbers say nothing of CLIP"
        count = f"{self.images} validation images, seeds {', '.join(map(str, self.seeds))}"
        last = {run.chosen for arm in self.arms for run in arm.runs if run.chosen} == {"last"}
        weights = (
            "the last epoch's moving average" if last else "the best epoch's, raw or EMA, chosen on the same images"
        )
        return f"{self.base}, {self.protocol.label}; {count}; {encoder}. Weights are {weights}."


def read_study(folder: Path) -> StudyResults:
    """Read the `study.json` of a folder.

    Raises:
        SpaceClipError: It is not there, or of another version.
    """
    path = folder / STUDY
    try:
        return StudyResults.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SpaceClipError(f"{path} is not there, expected the results of a study: run `spaceclip study`") from None
    except ValidationError as error:
        fault = error.errors()[0]
        reason = f"{'.'.join(map(str, fault['loc'])) or 'its JSON'}: {fault['msg']}"
    raise SpaceClipError(f"{path} is of another version ({reason}); give `spaceclip study` again, which writes it anew")
