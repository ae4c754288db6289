"""Running a study: what is done of it, training what is not, and writing what came of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...cache import SpaceClipError, write_atomically
from ...evaluate import NUMBERS, WITHOUT_AN_IMAGE, BackboneFacts, Row
from ...extract import counted
from ...train import INFO, Callbacks, CheckpointInfo, Epoch, Plan, fit, read_history
from ..clusters import ClusterChoice
from ..device import choose_device
from ..paths import require_writable
from ..progress import progress
from ..training import start_line
from ..validation import ValidationScores, score_without_image
from .arm_results import ArmResult, RunResult
from .design import Arm, Design
from .on_test import OnTest
from .results import CSV, LATEX, STUDY, TABLE, StudyResults
from .tables import csv, latex, markdown, numbers

if TYPE_CHECKING:
    from distributed import Client

_Key = tuple[str, int]


@dataclass
class _Study:
    """A study under way.

    Attributes:
        failed: Why runs failed, by arm and seed.
        unscored: Why runs cannot be scored on the test split.
        baselines: Validation scores of predictions without an image, once they are known.
    """

    design: Design
    out: Path
    say: Callable[[str], None]
    failed: dict[_Key, str] = field(default_factory=dict)
    unscored: dict[_Key, str] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plans = self.design.plans(self.out)
        self._keys = {plan.out: key for key, plan in self.plans.items()}

    def train(self, device: torch.device) -> None:
        """Train all that is not done here, the arms of a seed together and seed after seed."""
        design, seeds = self.design, len(self.design.seeds)
        for number, seed in enumerate(design.seeds, 1):
            label = f"seed {seed}, {number} of {seeds}"
            if arms := sum(not (self.plans[arm.name, seed].out / INFO).exists() for arm in design.arms):
                self.say(f"{label}: {counted(arms, 'arm')} to train")
            with progress(label, "steps") as report:
                fit(
                    design.training,
                    [self.plans[arm.name, seed] for arm in design.arms],
                    score=ValidationScores(design.training, design.validation),
                    device=device,
                    validation=design.validation,
                    callbacks=self._callbacks(report),
                )
            self.write()

    def train_on(self, client: "Client", device: str, local_copy: Path | None) -> None:
        """Train all that is not done on the workers of a cluster."""
        from ...train.cluster import fit_on

        note = ""

        def count(workers: int) -> None:
            nonlocal note
            note = f"{workers} workers" if workers else "waiting for workers"

        with progress("study", "steps") as report:
            fit_on(
                client,
                self.design.training,
                list(self.plans.values()),
                score=ValidationScores,
                device=partial(choose_device, device),
                validation=self.design.validation,
                local_copy=local_copy,
                callbacks=self._callbacks(lambda done, total: report(done, total, note)),
                workers=count,
                say=self.say,
            )

    def score(self, device: str, local_copy: Path | None) -> None:
        """Score on the test split what was trained and was not scored there yet; for once all runs have ended."""
        runs = [plan for key, plan in self.plans.items() if key not in self.failed and not self.on_test(plan)]
        if self.design.test and runs:
            self.say(f"scored on the test split, in one pass: {'; '.join(map(self._name, runs))}")
            self._score(self.design.test, runs, device, local_copy)

    def _score(self, test: OnTest, runs: Sequence[Plan], device: str, local_copy: Path | None) -> None:
        try:
            test.score([plan.out for plan in runs], device, local_copy)
        except SpaceClipError as error:
            if len(runs) > 1:  # one that cannot be scored keeps no other from it
                for plan in runs:
                    self._score(test, [plan], device, local_copy)
                return
            self.unscored[self._keys[runs[0].out]] = f"cannot be scored on the test split: {error}"
            self.say(f"{self._name(runs[0])}: cannot be scored on the test split: {error}")

    def on_test(self, plan: Plan) -> Row | None:
        """How a run was scored on the test split, see `OnTest.row`; None without one."""
        return self.design.test.row(plan.out) if self.design.test else None

    def write(self) -> StudyResults:
        """Write what is known by now: `study.json`, the tables, and the numbers that DVC shows."""
        results = self._results()
        write_atomically(self.out / STUDY, results.model_dump_json(indent=1).encode() + b"\n")
        write_atomically(self.out / NUMBERS, json.dumps(numbers(results), indent=1).encode() + b"\n")
        write_atomically(self.out / TABLE, markdown(results).encode())
        write_atomically(self.out / LATEX, latex(results).encode())
        write_atomically(self.out / CSV, csv(results).encode())
        return results

    def _results(self) -> StudyResults:
        design, test = self.design, self.design.test
        first = design.arms[0]
        runs = {arm.name: [self._run(arm, seed) for seed in design.seeds] for arm in design.arms}
        rows = [row for plan in self.plans.values() if (row := self.on_test(plan))]
        stores = {"train": design.training, "val": design.validation} | ({"test": test.split} if test else {})
        others = [one for one in sorted(self.out.glob("*/seed*")) if one.is_dir() and one not in self._keys]
        return StudyResults(
            study=self.design.file.stem,
            base=str(design.base),
            protocol=design.protocol,
            images=len(design.validation.usable),
            baselines=self.baselines,
            others=[str(one.relative_to(self.out)) for one in others],
            test=test.facts(rows) if test else None,
            backbone=BackboneFacts.of(design.training.identity["backbone"]),
            stores={name: [one.fingerprint for one in features.stores] for name, features in stores.items()},
            seeds=list(design.seeds),
            arms=[
                ArmResult.of(arm.name, arm.own, arm.parameters, arm.start(first), runs[arm.name], runs[first.name])
                for arm in design.arms
            ],
        )

    def _run(self, arm: Arm, seed: int) -> RunResult:
        key, out = (arm.name, seed), self.plans[arm.name, seed].out
        if key in self.failed:
            return RunResult(seed=seed, status="failed", note=self.failed[key])
        if not (out / INFO).exists():
            return RunResult(seed=seed, status="open")
        info, row = CheckpointInfo.read(out / INFO), self.on_test(self.plans[key])
        return RunResult(
            seed=seed,
            status="trained",
            metrics=info.metrics,
            test=row.metrics if row else {},
            warnings=[text for text in row.warnings if not text.startswith(WITHOUT_AN_IMAGE)] if row else [],
            weights=info.weights,
            epoch=info.epoch,
            chosen=info.chosen,
            note="; ".join(filter(None, [_collapse(info, read_history(out)), self.unscored.get(key, "")])),
        )

    def _callbacks(self, progress: Callable[[int, int], None]) -> Callbacks:
        return Callbacks(progress, self._each_epoch, self._beginning, self._dropped)

    def _beginning(self, plan: Plan, done: int, total: int, others: Sequence[Path]) -> None:
        if text := start_line(done, total, others):
            self.say(f"{self._name(plan)}: {text}")

    def _each_epoch(self, plan: Plan, epoch: Epoch) -> None:
        self.say(f"{self._name(plan)}: {epoch}")

    def _dropped(self, plan: Plan, error: SpaceClipError) -> None:
        self.failed[self._keys[plan.out]] = str(error)
        self.say(f"{self._name(plan)}: FAILED, the others go on: {error}")

    def _name(self, plan: Plan) -> str:
        arm, seed = self._keys[plan.out]
        return f"{arm}, seed {seed}"


def _collapse(info: CheckpointInfo, history: list[Epoch]) -> str:
    """What to say of a run that collapsed; nothing of others."""
    notes = []
    if info.collapsed:
        notes.append(f"collapsed and was started again {len(info.collapsed)} times")
    if epochs := [epoch for epoch in history if epoch.collapsed]:
        first = f"first in epoch {epochs[0].epoch} ({epochs[0].collapse})"
        notes.append(f"COLLAPSED in {len(epochs)} of {len(history)} epochs, {first}")
    return "; ".join(notes)


def run_study(
    design: Design,
    out: Path,
    *,
    device: str = "auto",
    cluster: ClusterChoice | None = None,
    local_copy: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> StudyResults:
    """Train every arm with every seed, then score all on the test split; of both, what is not done yet.

    Args:
        design: The study.
        out: Its folder; a run lies in `<arm>/seed<seed>`.
        device: Where to train, of this process or of each worker.
        cluster: Train on this, if it is one.
        local_copy: Folder on each worker that keeps what is read of a bucket.
        say: Called with each line that a user should know on the way.

    Raises:
        SpaceClipError: The folder holds results of other settings, or the study cannot go on (see `fit`). A run that
            fails alone is none: it stands in the results.
    """
    require_writable(out)
    study = _Study(design, out, say)
    here = choose_device("cpu" if cluster else device)
    design.done(out, here)
    for plan in study.plans.values():
        study.on_test(plan)
    if cluster:
        with cluster.reached(say) as client:
            study.train_on(client, "cuda" if cluster.gpus else device, local_copy)
    else:
        study.train(here)
    study.write()
    study.score("auto" if cluster else device, local_copy)
    # Last, as scoring keeps what is made of the training depths.
    study.baselines = score_without_image(design.training, design.validation, design.protocol)
    return study.write()
