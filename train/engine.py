"""The training engine: each batch is read once, and every decoder that is in training learns from it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ..cache import Features, SpaceClipError, StoreError, keep_freed_memory, out_of_memory
from .callbacks import SILENT, Callbacks
from .checkpoint import CheckpointInfo
from .checks import require_same_batches, require_trainable, require_trained
from .decoder import DepthDecoder
from .feed import Inputs
from .history import Epoch
from .reading import inputs_of, training_batches
from .run import Plan, Run
from .side_by_side import SideBySide, side_by_side

_CHECK_EVERY = 16
"""Steps between two looks at how a decoder does, each of which waits for the device."""


class Candidate(NamedTuple):
    """A decoder that is to be scored.

    Attributes:
        decoder: In training.
        plan: That it is of.
        epoch: After which, from 1.
        weights: `raw` or `ema`.
    """

    decoder: DepthDecoder
    plan: Plan
    epoch: int
    weights: str


Score = Callable[[Sequence[Candidate]], Sequence[dict[str, float] | SpaceClipError]]
"""Validation metrics of some decoders, by whose `abs_rel` the best weights are chosen, or why one has none."""


def fit(
    cache: Features,
    plans: Sequence[Plan],
    *,
    score: Score | None,
    device: torch.device,
    validation: Features | None = None,
    force: bool = False,
    callbacks: Callbacks = SILENT,
) -> list[CheckpointInfo]:
    """Train decoders, or finish interrupted runs of the same settings, features and code.

    Each comes out as if it were trained alone, on a CPU with as many threads (see `at_once`). A finished checkpoint of
    the same settings and stores is returned as it is, and no epoch of it is reported.

    Args:
        cache: Training features with depth.
        plans: The decoders; they share batch size, order and flips, and may differ in all else.
        score: Scores decoders on validation; None without validation.
        device: Where to train.
        validation: The store that `score` reads, for the record.
        force: Replace finished checkpoints; each stays until the new one is finished.
        callbacks: Told how it goes.

    Returns:
        What belongs to the checkpoints, without those of decoders that were dropped.

    Raises:
        SpaceClipError: The features do not fit the settings, the best weights are wanted and there is nothing to choose
            them by, no pixel counts, the loss stays non-finite, memory runs out; or a folder holds a finished
            checkpoint of other settings or stores, is written by another run, holds a damaged state or checkpoint, or
            cannot be written to.
    """
    require_trainable(plans, score, cache)
    require_same_batches(plans)
    runs = [Run(plan, cache, validation, device) for plan in plans]
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.held(force))
        open_runs = [run for run in runs if not run.info]
        if open_runs:
            if device.type == "cpu":
                keep_freed_memory()
            settings = plans[0].settings
            stack.enter_context(out_of_memory(f"lower batch_size, which is {settings.batch_size}, or raise accumulate"))
            layers = sorted({layer for run in open_runs for layer in run.plan.decoder.layers})
            batches = training_batches(cache, layers, settings, device)
            for run in open_runs:
                run.begin(len(batches))
                callbacks.beginning(run.plan, run.saved.steps, run.plan.settings.epochs * len(batches), run.others)
                for row in run.saved.history:
                    callbacks.each_epoch(run.plan, Epoch.of(row))
            began = time.perf_counter()
            inputs = inputs_of(batches, device, settings.resident)
            each = stack.enter_context(side_by_side(len(runs), device))
            _Engine(runs, len(batches), inputs, score, callbacks, began, each).train()
    if callbacks.dropped is None:
        require_trained(len(runs), [(run.plan, run.error) for run in runs if run.error])
    return [run.info for run in runs if run.info]


@dataclass
class _Engine:
    """Leads runs through their epochs, side by side."""

    runs: Sequence[Run]
    steps: int
    inputs: Callable[[int, int], Iterable[Inputs]]
    score: Score | None
    callbacks: Callbacks
    counted: float
    """Clock up to which the time is counted."""
    each: SideBySide
    """Calls a function with the number of each run."""

    def train(self) -> None:
        """Train all, from where the first of them is."""
        steps, total = self.steps, max(run.plan.settings.epochs for run in self.runs) * self.steps
        for run in self._learning():
            if run.trainee.finished:  # killed after its last epoch
                self._attempt(run, run.finish)
        while learning := self._learning():
            begun = [(run, run.trainee.done) for run in learning]
            done = min(at for _, at in begun)
            epoch, first = divmod(done, steps)
            self.callbacks.progress(done, total)
            due: list[Run] = []
            with self._saved_where_reading_fails():
                for at, inputs in enumerate(self.inputs(epoch, first), done):
                    due = [run for run, first_due in begun if first_due <= at and not run.error]
                    self._count("reading", due)
                    for run in due:
                        run.saved.move_seconds("reading", "copying", inputs.copying)
                    self._step_each(at, inputs)
                    self._count("computing", due)
                    if not due:
                        break
                    self.callbacks.progress(at + 1, total)
                self.each.finish()
            # Others may have ended this epoch before: when they were interrupted, or one of these started again.
            if ended := [run for run in due if not run.error]:
                self._end_epoch(ended)

    @contextmanager
    def _saved_where_reading_fails(self) -> Iterator[None]:
        """Context in which a batch that cannot be read costs no step that is done."""
        try:
            yield
        except StoreError:
            self.each.finish()
            for run in self._learning():
                if run.trainee.done > run.saved.steps:
                    run.save()
            raise

    def _learning(self) -> list[Run]:
        return [run for run in self.runs if not (run.error or run.info)]

    def _count(self, kind: str, runs: Sequence[Run]) -> None:
        """Count the time since the last call among what these runs spent."""
        now = time.perf_counter()
        for run in runs:
            run.saved.seconds[kind] = run.saved.seconds.get(kind, 0.0) + now - self.counted
        self.counted = now

    def _attempt(self, run: Run, work: Callable[..., None], *arguments: Any) -> None:
        """Do what may end one run, and not the others."""
        try:
            work(*arguments)
        except SpaceClipError as error:
            self._drop(run, error)

    def _drop(self, run: Run, error: SpaceClipError) -> None:
        run.error = error
        self.callbacks.drop(run.plan, error)

    def _step_each(self, at: int, inputs: Inputs) -> None:
        def step(number: int) -> None:
            run = self.runs[number]
            if not (run.error or run.info) and run.trainee.done == at:
                self._attempt(run, self._step, run, inputs)

        self.each(step)

    def _step(self, run: Run, inputs: Inputs) -> None:
        trainee, every = run.trainee, run.plan.settings.save_every
        trainee.step(inputs)
        within = trainee.done % self.steps
        if within and within % _CHECK_EVERY == 0:
            trainee.check()
        if within and every and trainee.done % every == 0:
            run.save()

    def _end_epoch(self, runs: Sequence[Run]) -> None:
        ended: list[tuple[Run, Epoch]] = []
        for run in runs:
            self._attempt(run, self._end_one, run, ended)
        self._count("computing", runs)
        candidates = [
            Candidate(model, run.plan, epoch.epoch, kind)
            for run, epoch in ended
            for kind, model in run.trainee.models.items()
        ]
        found = iter(self.score(candidates) if self.score else [{} for _ in candidates])
        self._count("validating", [run for run, _ in ended])
        for run, unscored in ended:
            scores = {kind: next(found) for kind in run.trainee.models}
            self._attempt(run, self._keep, run, unscored, scores)
        self._count("computing", runs)

    def _keep(self, run: Run, unscored: Epoch, scores: Mapping[str, dict[str, float] | SpaceClipError]) -> None:
        metrics: dict[str, dict[str, float]] = {}
        for kind, score in scores.items():
            if isinstance(score, SpaceClipError):
                raise SpaceClipError(
                    f"the {kind} weights of epoch {unscored.epoch} cannot be scored ({score}): if training diverged, "
                    "lower learning_rate"
                ) from score
            if not all(map(math.isfinite, score.values())):
                raise SpaceClipError(
                    f"the {kind} weights of epoch {unscored.epoch} have no finite validation scores ({score}): lower "
                    "learning_rate, or look at the validation split"
                )
            metrics[kind] = score
        epoch = run.trainee.keep(unscored, metrics)
        run.save_epoch()
        self.callbacks.each_epoch(run.plan, epoch)
        if run.trainee.finished:
            run.finish()

    def _end_one(self, run: Run, ended: list[tuple[Run, Epoch]]) -> None:
        epoch = run.trainee.end_epoch()
        if epoch.collapsed and run.plan.settings.collapse != "warn":
            run.saved = run.trainee.started_again(epoch)
            run.begin(self.steps)
            run.save()
            self.callbacks.each_epoch(run.plan, epoch)
        else:
            ended.append((run, epoch))
