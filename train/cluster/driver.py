"""Training on the workers of a Dask cluster: who trains what, what they say of it, and what came of it."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from distributed import Client

from ...cache import Features, SpaceClipError
from ...cache.cluster import Flight, Kind, choose_environment, clear_up, on_workers, run_name, scheduler_needed
from ..callbacks import SILENT, Callbacks
from ..checkpoint import INFO, CheckpointInfo
from ..checks import require_trainable, require_trained
from ..history import Epoch
from ..run import Plan
from .job import Job, MakeScore, Stores, environment_here, shares
from .worker import Trainer, train_share

_SHARES = Kind("share", lighter="lower batch_size", twice=False)


def fit_on(
    client: Client,
    cache: Features,
    plans: Sequence[Plan],
    *,
    score: MakeScore | None,
    device: Callable[[], torch.device],
    validation: Features | None = None,
    local_copy: Path | None = None,
    callbacks: Callbacks = SILENT,
    workers: Callable[[int], None] = lambda _count: None,
    say: Callable[[str], None] = lambda _line: None,
) -> list[CheckpointInfo]:
    """Train decoders on the workers of a cluster, each on one of them; see `fit`, whose results these are.

    A worker that is lost costs what its decoders learned since their last states, from which another one goes on. So
    their folders lie where all workers see them, by the same paths, as do the stores.

    Args:
        client: Of the cluster.
        cache: Training features with depth.
        plans: The decoders. They may differ in all; those of the same batches are trained on one read.
        score: Makes what scores decoders, in each worker, which opens the stores; None without validation.
        device: Chooses a worker's device. This and `score` are functions that workers can import.
        validation: The store that `score` reads.
        local_copy: Folder on each worker that keeps what is read of a bucket.
        callbacks: As those of `fit`. Steps are those of all decoders, at least each second; an epoch is told of once, a
            beginning again where a decoder goes on elsewhere.
        workers: Called with how many there are.
        say: Called with a line about workers that differ or are given no more, and there being none.

    Returns:
        As `fit`.

    Raises:
        SpaceClipError: As `fit`; no worker is fit, or the scheduler was lost. The states stay.
    """
    require_trainable(plans, score, cache)
    with scheduler_needed():
        clear_up(client)
        chosen = choose_environment(client, partial(environment_here, device), say=say)
    there = [replace(plan, out=plan.out.resolve()) for plan in plans]
    scored = Stores.of(validation) if validation else None
    job = Job(Stores.of(cache), scored, there, score, device, chosen, local_copy)
    run, divided = run_name("train", client), shares(plans, len(chosen.workers))
    news = _News(plans, len(cache.usable), callbacks)
    waiting = deque(range(len(divided)))
    with scheduler_needed():
        flight = Flight(client, run, _SHARES, train_share, lambda number, _elsewhere: divided[number], say)
    with on_workers(client, Trainer(job, run), run, news.hear), closing(flight):
        while waiting or flight.open:
            with scheduler_needed():
                room = max(1, len(flight.pool.fit)) - len(flight.open)
                flight.begin([waiting.popleft() for _ in range(min(len(waiting), room))])
                ended = [number for share in flight.done() for number in divided[share]]
            news.pass_on(ended)
            workers(len(flight.pool.fit))
            callbacks.progress(sum(news.steps), sum(news.total))
    if callbacks.dropped is None:
        require_trained(len(plans), [(plans[number], error) for number, error in news.lost.items()])
    return [CheckpointInfo.read(plan.out / INFO) for number, plan in enumerate(plans) if number not in news.lost]


class _News:
    """What workers say, heard in a thread of the client's and passed on in the caller's.

    Attributes:
        steps: That each decoder has done, as far as is known.
        total: That each has to do.
        lost: Numbers of the decoders that cannot go on, and why.
    """

    def __init__(self, plans: Sequence[Plan], images: int, callbacks: Callbacks) -> None:
        self._plans, self._callbacks = plans, callbacks
        self._heard: deque[tuple[Any, ...]] = deque()
        self._told: set[tuple[int, int, int]] = set()
        settings = [plan.settings for plan in plans]
        self.total = [one.epochs * (min(images, one.overfit or images) // one.batch_size) for one in settings]
        self.steps = [0] * len(plans)
        self.lost: dict[int, SpaceClipError] = {}

    def hear(self, event: tuple[float, Any]) -> None:
        """Take what a worker says."""
        self._heard.append(event[1])

    def pass_on(self, ended: Sequence[int]) -> None:
        """Say it, and that some decoders are done with."""
        while self._heard:
            match self._heard.popleft():
                case "steps", numbers, done:
                    for number in numbers:
                        self.steps[number] = min(done, self.total[number])
                case "epoch", number, row:
                    epoch = Epoch.of(row)
                    # Another worker that goes on with a decoder says again what was done before.
                    known = (number, epoch.epoch, epoch.restarts)
                    if known not in self._told:
                        self._told.add(known)
                        self._callbacks.each_epoch(self._plans[number], epoch)
                case "beginning", number, done, total, others:
                    self._callbacks.beginning(self._plans[number], done, total, list(map(Path, others)))
                case "dropped", number, error if number not in self.lost:
                    self.lost[number] = SpaceClipError(error)
                    self._callbacks.drop(self._plans[number], self.lost[number])
        for number in ended:
            self.steps[number] = self.total[number]
