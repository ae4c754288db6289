"""The workers of a run on a cluster: which are there, which of them fail, and which are given no more."""

from collections import Counter
from collections.abc import Callable, Iterable

from ...cache import SpaceClipError

_STRIKES = 3


class WorkerUnfitError(SpaceClipError):
    """What is wrong with one worker alone: it sees other files, has another encoder, or too little memory."""


class ShardFailedError(Exception):
    """A shard failed on a worker.

    Args:
        worker: Its address.
        error: What was raised there.
    """

    def __init__(self, worker: str, error: BaseException) -> None:
        super().__init__(worker, error)
        self.worker, self.error = worker, error


class WorkerPool:
    """The workers of a run.

    One that cannot take part, or that fails again and again on what others then do, is given no more: it would always
    be the idlest, and so get all that waits.

    Args:
        say: Called with a line about workers that are given no more.

    Attributes:
        present: Addresses of those that are there.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._unfit: set[str] = set()
        self._strikes: Counter[str] = Counter()
        self.present: set[str] = set()

    @property
    def fit(self) -> set[str]:
        """Those that are there and are given shards."""
        return self.present - self._unfit

    @property
    def chosen(self) -> set[str]:
        """Whom a shard is for; none named where it may be anybody."""
        return self.fit if self._unfit else set()

    @property
    def troubled(self) -> bool:
        """Whether any has failed and not yet done well again."""
        return bool(self._strikes)

    def others(self, tried: Iterable[str]) -> set[str]:
        """Those besides the ones that have tried a shard; if it can be, those that have not failed lately."""
        others = self.fit.difference(tried)
        return {worker for worker in others if not self._strikes[worker]} or others

    def failed(self, worker: str) -> None:
        """Take note of a failure; whether the shard or the worker is to blame is not known yet."""
        self._strikes[worker] += 1

    def did_well(self, workers: Iterable[str]) -> None:
        """Take note of who did a shard."""
        for worker in workers:
            self._strikes.pop(worker, None)

    def outdone(self, workers: Iterable[str]) -> None:
        """Take note of who had failed on a shard that another then did."""
        for worker in workers:
            if self._strikes[worker] >= _STRIKES:
                times = self._strikes[worker]
                self.leave_out(worker, f"it failed {times} times in a row, on shards that others do; its log says why")

    def leave_out(self, worker: str, reason: str) -> None:
        """Give a worker no more."""
        self._strikes.pop(worker, None)
        if worker not in self._unfit:
            self._unfit.add(worker)
            self._say(f"{worker} is given no more shards: {reason}")
