"""What came of the runs of an arm, and what they come to over the seeds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict


class RunResult(BaseModel):
    """One run.

    Attributes:
        seed: Its seed.
        status: `trained`, `failed`, or `open` while it is neither.
        metrics: On validation; empty unless it is trained.
        test: On the test split, by the study's first protocol of it; empty unless it was scored there.
        warnings: What makes the numbers of the test split mean less than they seem to.
        weights: Whether raw or EMA weights were kept.
        epoch: Their epoch, from 1.
        chosen: Whether they are the best on validation or the last.
        note: Why it failed, or that it collapsed, with the numbers by which that is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    status: Literal["trained", "failed", "open"]
    metrics: dict[str, float] = {}
    test: dict[str, float] = {}
    warnings: list[str] = []
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

    @property
    def same(self) -> bool:
        """Of a difference: whether there is none in any seed."""
        return self.mean == 0 and not self.deviation


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
        test: As `metrics`, on the test split.
        test_differences: As `differences`, on the test split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    own: dict[str, Any]
    parameters: int
    start: Start
    runs: list[RunResult]
    metrics: dict[str, Spread]
    differences: dict[str, Spread]
    test: dict[str, Spread] = {}
    test_differences: dict[str, Spread] = {}

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
        others = [] if runs is first else first
        metrics, differences = _over_seeds([run.metrics for run in runs], [run.metrics for run in others])
        test, test_differences = _over_seeds([run.test for run in runs], [run.test for run in others])
        return cls(
            name=name,
            own=dict(own),
            parameters=parameters,
            start=start,
            runs=list(runs),
            metrics=metrics,
            differences=differences,
            test=test,
            test_differences=test_differences,
        )

    @property
    def on_test(self) -> Self:
        """The arm with the numbers of the test split in the place of those of validation."""
        runs = [run.model_copy(update={"metrics": run.test}) for run in self.runs]
        return self.model_copy(update={"runs": runs, "metrics": self.test, "differences": self.test_differences})

    def apart(self, first: "ArmResult", metric: str) -> list[float]:
        """By how much a metric differs from that of another arm, for each seed that both were trained with."""
        pairs = zip(self.runs, first.runs, strict=True)
        return [run.metrics[metric] - one.metrics[metric] for run, one in pairs if run.metrics and one.metrics]


_Scores = Sequence[Mapping[str, float]]


def _over_seeds(runs: _Scores, others: _Scores) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """By metric, its spread over the runs that have it, and that of its differences to others, of the same seeds."""
    scored = [run for run in runs if run]
    pairs = [(own, other) for own, other in zip(runs, others, strict=False) if own and other]
    names = scored[0] if scored else {}
    metrics = {name: Spread.of([run[name] for run in scored]) for name in names}
    apart = {name: Spread.of([own[name] - other[name] for own, other in pairs], paired=True) for name in names}
    return _known(metrics), _known(apart)


def _known(spreads: Mapping[str, Spread | None]) -> dict[str, Spread]:
    return {name: spread for name, spread in spreads.items() if spread}
