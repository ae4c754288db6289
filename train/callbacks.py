"""What training calls on its way, in this process or, as its workers tell of it, on a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache import SpaceClipError
from .history import Epoch
from .run import Plan


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called while decoders are trained.

    Attributes:
        progress: Called with (steps done, steps in all).
        each_epoch: Called after each epoch of each decoder, and at first for each that was done before.
        beginning: Called before, for each decoder with its steps done, those in all, and the unfinished states of other
            runs in its folder.
        dropped: Called where a decoder cannot go on; the others do. Without it its error is raised at the end.
    """

    progress: Callable[[int, int], None] = lambda _done, _total: None
    each_epoch: Callable[[Plan, Epoch], None] = lambda _plan, _epoch: None
    beginning: Callable[[Plan, int, int, Sequence[Path]], None] = lambda _plan, _done, _total, _others: None
    dropped: Callable[[Plan, SpaceClipError], None] | None = None

    def drop(self, plan: Plan, error: SpaceClipError) -> None:
        """Say that a decoder cannot go on, if anybody listens."""
        if self.dropped:
            self.dropped(plan, error)


SILENT = Callbacks()
"""Calls nothing."""
