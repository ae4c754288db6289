"""The workers of a run on a cluster: which are there, which of them fail, and which are given no more."""

from collections.abc import Callable, Iterable

from ..errors import SpaceClipError, first_line

_STRIKES = 3


class WorkerUnfitError(SpaceClipError):
    """What is wrong with one worker alone: it sees other files, has another encoder, or too little memory."""


class MachineError(SpaceClipError):
    """What may be wrong with one machine alone: its file system gives no answer, or refuses."""


class TaskFailedError(Exception):
    """A task failed on a worker.

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
        unfit: Addresses of those that are given no more.
        strikes: How the others have failed since they last did well.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.present: set[str] = set()
        self.unfit: set[str] = set()
        self.strikes: dict[str, list[BaseException]] = {}

    @property
    def fit(self) -> set[str]:
        """Those that are there and are given tasks."""
        return self.present - self.unfit

    def others(self, tried: Iterable[str]) -> set[str]:
        """Those besides the ones that have tried a task; if it can be, those that have not failed lately."""
        others = self.fit.difference(tried)
        return others.difference(self.strikes) or others

    def failed(self, worker: str, error: BaseException) -> None:
        """Take note of a failure; whether the task or the worker is to blame is not known yet."""
        self.strikes.setdefault(worker, []).append(error)

    def done_by(self, workers: Iterable[str], tried: Iterable[str]) -> None:
        """Take note of who did a task, and of who had failed on it: now the task is not to blame."""
        for worker in workers:
            self.strikes.pop(worker, None)
        for worker in tried:
            errors = self.strikes.get(worker, [])
            if len(errors) >= _STRIKES:
                times = f"it failed {len(errors)} times in a row, on what others then do"
                self.leave_out(worker, f"{times}: {first_line(errors[-1])}")

    def leave_out(self, worker: str, reason: str) -> None:
        """Give a worker no more."""
        self.strikes.pop(worker, None)
        if worker not in self.unfit:
            self.unfit.add(worker)
            self._say(f"{worker} is given no more: {reason}")
