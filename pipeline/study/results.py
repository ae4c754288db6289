"""What came of a study, as its files have it: every run by arm and seed, none left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ...cache import Looks, SpaceClipError
from ...evaluate import METRICS, NUMBERS, REPORT, BackboneFacts, Protocol, best_baselines
from .arm_results import ArmResult
from .naming import Run, named, seeds_text

STUDY, TABLE, LATEX, CSV = "study.json", "study.md", "study.tex", "study.csv"
FILES = (STUDY, TABLE, LATEX, CSV, NUMBERS, REPORT)
"""What lies in a study's folder beside those of its arms."""


class SplitFacts(BaseModel):
    """What the numbers of the test split are.

    Attributes:
        protocol: What they were measured by.
        images: Of the split.
        looks: How often it was looked at, by this study and others.
        baselines: Metrics of predictions without an image, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Protocol
    images: int
    looks: Looks
    baselines: dict[str, dict[str, float]] = {}


class StudyResults(BaseModel):
    """A study's results, as `study.json` has them.

    Attributes:
        format: Of this file.
        study: Name of the study.
        base: The experiment's file.
        protocol: What validation measures.
        images: Of the validation split.
        baselines: Metrics of predictions without an image on validation, by name; none while a run is to be trained.
        test: Of the numbers of the test split; None without one.
        backbone: The frozen encoder.
        stores: Fingerprints of the stores of each split.
        seeds: Of the study.
        arms: In its order.
        others: Folders of runs that lie beside them and are of no arm or seed of the study's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    study: str
    base: str
    protocol: Protocol
    images: int
    baselines: dict[str, dict[str, float]] = {}
    test: SplitFacts | None = None
    backbone: BackboneFacts
    stores: dict[str, list[str]]
    seeds: list[int]
    arms: list[ArmResult]
    others: list[str] = []

    @model_validator(mode="after")
    def _require_whole(self) -> Self:
        """What was edited by hand is refused here, not found half-way through a page."""
        if not (self.arms and self.seeds):
            raise ValueError("there are no arms, or no seeds")
        for arm in self.arms:
            if (found := [run.seed for run in arm.runs]) != self.seeds:
                raise ValueError(f"the runs of {arm.name} are of the seeds {found}, expected {self.seeds}")
            for numbers in (*(run.metrics for run in arm.runs), *(run.test for run in arm.runs), arm.metrics, arm.test):
                if numbers and (absent := [name for name in METRICS if name not in numbers]):
                    raise ValueError(f"{arm.name} lacks {absent[0]}")
            if bool(arm.metrics) != any(run.metrics for run in arm.runs):
                raise ValueError(f"the mean of {arm.name} is not of its runs")
            if bool(arm.test) != any(run.test for run in arm.runs):
                raise ValueError(f"the mean of {arm.name} on the test split is not of its runs")
        return self

    @property
    def runs(self) -> list[Run]:
        """All of them, arm by arm."""
        return [(arm.name, seed) for arm in self.arms for seed in self.seeds]

    @property
    def caption(self) -> str:
        """What the numbers of validation are, in one line."""
        texts = {
            "best": "the best epoch's, raw or EMA, chosen on the same images",
            "last": "the last epoch's moving average",
        }
        kinds = {kind: [arm for arm in self.arms if any(run.chosen == kind for run in arm.runs)] for kind in texts}
        kinds = {kind: arms for kind, arms in kinds.items() if arms}
        chosen = ", ".join(
            texts[kind] if len(kinds) < 2 else f"of {' and '.join(arm.name for arm in arms)} {texts[kind]}"
            for kind, arms in kinds.items()
        )
        missing = self._lacking("metrics")
        but = f" {self._count(missing)} are trained, not {named(missing, self.runs)}." if missing else ""
        return f"{self._of(self.protocol, self.images, 'validation')}{but} Weights are {chosen or texts['best']}."

    @property
    def on_test(self) -> Self | None:
        """The study with the numbers of the test split in the place of those of validation; None if it has none."""
        if not (self.test and any(arm.test for arm in self.arms)):
            return None
        return self.model_copy(update={"arms": [arm.on_test for arm in self.arms], "baselines": self.test.baselines})

    @property
    def image_free(self) -> dict[str, float]:
        """What the best prediction without an image reaches, metric by metric; empty where it is not known."""
        return {name: self.baselines[of][name] for name, of in best_baselines(self.baselines).items()}

    @property
    def test_caption(self) -> str:
        """What the numbers of the test split are, in one line; whether there are any."""
        if self.test is None:
            return "There is no test split, or no protocol of the base scores it."
        missing = self._lacking("test")
        when = "Scored once all runs had ended"
        if len(missing) == len(self.runs):
            when = "Not scored yet: that comes once all runs have ended"
        elif missing:
            when = f"{self._count(missing)} are scored, not {named(missing, self.runs)}"
        return f"{self._of(self.test.protocol, self.test.images, 'test')} {when}; {self.test.looks}."

    def _lacking(self, numbers: Literal["metrics", "test"]) -> list[Run]:
        return [(arm.name, run.seed) for arm in self.arms for run in arm.runs if not getattr(run, numbers)]

    def _count(self, missing: Sequence[Run]) -> str:
        return f"{len(self.runs) - len(missing)} of {len(self.runs)} runs"

    def _of(self, protocol: Protocol, images: int, split: str) -> str:
        encoder = f"encoder {self.backbone.label}"
        if self.backbone.random:
            encoder = f"{encoder}, RANDOM WEIGHTS: the numbers say nothing of CLIP"
        count = f"{images} {split} images, {seeds_text(self.seeds)}"
        return f"{self.base}, {protocol.label}; {count}; {encoder}."


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
