"""What a worker of a Dask cluster does: it opens the stores once, and trains share after share of the decoders."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from distributed import WorkerPlugin, get_worker

from ...cache import BusyError, Features, SpaceClipError
from ...cache.cluster import TaskFailedError, WorkerUnfitError
from ..callbacks import Callbacks
from ..engine import fit
from ..history import Epoch
from ..run import Plan
from .job import Job, environment_here

REPORT_SECONDS = 0.5
"""A worker says no more often how far it is."""

_BUSY_SECONDS = 90
"""A worker that was given up may hold its folders for so long, until it is ended."""


class Trainer(WorkerPlugin):
    """A Dask worker plugin that opens the stores once, and then trains decoders.

    Args:
        job: What to train.
        run: Name of the run, and of what it says, as tuples that begin with a word: `steps`, of
            which decoders, done; `beginning`, `epoch` and `dropped`, of which decoder.
    """

    def __init__(self, job: Job, run: str) -> None:
        self._job, self._run = job, run

    def setup(self, worker: Any) -> None:
        """Called on each worker when it starts or joins."""
        self._worker = worker
        self._one_at_a_time, self._ended = threading.Lock(), threading.Event()

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends: training stops after its step; the last state stays."""
        self._ended.set()

    def train(self, share: Sequence[int]) -> None:
        """Train decoders, from where they are; those that cannot go on are told of, and no error.

        Raises:
            WorkerUnfitError: The worker trains with something else than the run, or sees other stores.
            SpaceClipError: See `fit`.
            InterruptedError: The run has ended.
        """
        with self._one_at_a_time:
            self._go_on()
            end = time.monotonic() + _BUSY_SECONDS
            while True:
                try:
                    self._fit(share)
                except BusyError:
                    if time.monotonic() > end:
                        raise
                    self._ended.wait(1.0)
                    self._go_on()
                else:
                    return

    def _fit(self, share: Sequence[int]) -> None:
        job, said = self._job, 0.0
        numbers = {job.plans[number].out: number for number in share}
        training, validation, device = self._opened
        if device.type == "cpu":
            torch.set_num_threads(job.chosen.threads_here())

        def progress(done: int, total: int) -> None:
            nonlocal said
            self._go_on()
            if done == total or time.monotonic() - said > REPORT_SECONDS:
                said = time.monotonic()
                self._say("steps", share, done)

        def beginning(plan: Plan, done: int, total: int, others: Sequence[Path]) -> None:
            self._say("beginning", numbers[plan.out], done, total, list(map(str, others)))

        def each_epoch(plan: Plan, epoch: Epoch) -> None:
            self._say("epoch", numbers[plan.out], asdict(epoch))

        def dropped(plan: Plan, error: SpaceClipError) -> None:
            self._say("dropped", numbers[plan.out], str(error))

        fit(
            training,
            [job.plans[number] for number in share],
            score=job.score(training, validation) if job.score and validation else None,
            device=device,
            validation=validation,
            callbacks=Callbacks(progress, each_epoch, beginning, dropped),
        )

    @cached_property
    def _opened(self) -> tuple[Features, Features | None, torch.device]:
        """All that the run has opened before: what is wrong with it is wrong here alone."""
        job = self._job
        try:
            environment_here(job.device).require(job.chosen.environment)
            training = job.training.open(job.local_copy)
            return training, job.validation and job.validation.open(job.local_copy), job.device()
        except SpaceClipError as error:
            raise WorkerUnfitError(f"worker {os.uname().nodename}: {error}") from error

    def _say(self, *what: Any) -> None:
        self._worker.log_event(self._run, what)

    def _go_on(self) -> None:
        if self._ended.is_set():
            raise InterruptedError("the run has ended")


def train_share(run: str, _number: int, share: Sequence[int]) -> None:
    """The task: have the run's plugin on this worker train decoders.

    Raises:
        TaskFailedError: Names the worker, which is known to it alone.
    """
    worker: Any = get_worker()
    try:
        worker.plugins[run].train(share)
    except Exception as error:
        raise TaskFailedError(worker.address, error) from error
