"""Running a study: what is done of it, training what is not, and writing what came of it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...cache import SpaceClipError, write_atomically
from ...evaluate import NUMBERS, BackboneFacts
from ...extract import duration
from ...train import INFO, Callbacks, CheckpointInfo, Epoch, Plan, Run, fit, read_history
from ..clusters import ClusterChoice
from ..device import choose_device
from ..paths import require_writable
from ..progress import progress
from ..training import start_line
from ..validation import ValidationScores
from .design import Arm, Design
from .results import STUDY, ArmResult, RunResult, StudyResults
from .tables import csv, latex, markdown, numbers, own_settings

if TYPE_CHECKING:
    from distributed import Client

TABLE, LATEX, CSV = "study.md", "study.tex", "study.csv"
_Key = tuple[str, int]


@dataclass
class _Study:
    """A study under way.

    Attributes:
        failed: Why runs failed, by arm and seed.
    """

    design: Design
    out: Path
    say: Callable[[str], None]
    failed: dict[_Key, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arms, seeds = self.design.arms, self.design.seeds
        self.plans = {(arm.name, seed): self.design.plan(arm, seed, self.out) for seed in seeds for arm in arms}
        self._keys = {plan.out: key for key, plan in self.plans.items()}

    def done(self, device: torch.device) -> dict[_Key, CheckpointInfo | int]:
        """The finished checkpoint of each run, or how many of its steps are done; see `Run.done`."""
        design = self.design
        return {key: Run(plan, design.training, design.validation, device).done() for key, plan in self.plans.items()}

    def train(self, device: torch.device) -> None:
        """Train all that is not done here, the arms of a seed together and seed after seed."""
        design = self.design
        for seed in design.seeds:
            with progress(f"seed {seed}", "steps") as report:
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
        design = self.design
        first = design.arms[0]
        runs = {arm.name: [self._run(arm, seed) for seed in design.seeds] for arm in design.arms}
        stores = {"train": design.training, "val": design.validation}
        return StudyResults(
            study=self.design.file.stem,
            base=str(design.base),
            protocol=design.protocol,
            images=len(design.validation.usable),
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
        info = CheckpointInfo.read(out / INFO)
        return RunResult(
            seed=seed,
            status="trained",
            metrics=info.metrics,
            weights=info.weights,
            epoch=info.epoch,
            chosen=info.chosen,
            note=_collapse(info, read_history(out)),
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
    """Train every arm with every seed, or what is not done of it yet, and write the tables.

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
    study.done(here)
    if cluster:
        with cluster.reached(say) as client:
            study.train_on(client, "cuda" if cluster.gpus else device, local_copy)
    else:
        study.train(here)
    return study.write()


def outlook(design: Design, out: Path, device: str) -> Iterator[str]:
    """What a study will take, and what of it is done; nothing is written.

    Raises:
        SpaceClipError: As `run_study`.
    """
    done = _Study(design, out, lambda _line: None).done(choose_device(device))
    open_runs = left = trained = 0
    took = dict.fromkeys(design.seeds, 0.0)
    for arm in design.arms:
        steps, states = arm.settings.epochs * design.steps, []
        for seed in design.seeds:
            match done[arm.name, seed]:
                case CheckpointInfo(receipt=receipt):
                    states.append(f"seed {seed} done")
                    trained += steps if receipt else 0
                    # Arms that were trained together each took the time of all.
                    took[seed] = max(took[seed], receipt.seconds if receipt else 0)
                case at:
                    states.append(f"seed {seed} {f'at step {at:,}' if at else 'to do'}")
                    open_runs, left = open_runs + 1, left + steps - at
        size = f"{arm.parameters:,} parameters, {steps:,} steps a seed"
        yield f"{arm.name} ({own_settings(arm.own)}): {size}; {', '.join(states)}"
    size, time = design.arms[0].settings.batch_size, ""
    if left and trained:
        time = f", about {duration(left * sum(took.values()) / trained)} one seed after another, as those done took"
    yield f"{out}: {open_runs} of {len(done)} runs to do, {left:,} steps at batch {size}{time}"
