"""Tasks in flight on a Dask cluster: on which worker each is, for how long, and what has become of it."""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any

from distributed import Client
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from ..errors import SpaceClipError, first_line
from .worker_pool import MachineError, TaskFailedError, WorkerPool, WorkerUnfitError

OVERDUE_SECONDS = 600.0
"""A task is never called overdue before; the first ones load the encoder."""

_OVERDUE_TIMES = 10
_REMEMBERED = 99
_LOOK_SECONDS = 1.0
_NAP_SECONDS = 0.01
_PATIENCE_SECONDS = 30.0
_TRIES = 4


@dataclass(frozen=True)
class Kind:
    """What the tasks are.

    Attributes:
        noun: What messages call one.
        lighter: What takes less memory, in words.
        twice: Whether one that is overdue may be begun on another worker too.
    """

    noun: str
    lighter: str
    twice: bool


@dataclass(eq=False)
class _Attempt:
    """One try at a task, on the workers named or on any; `worker` has had it `since` then, as far as was seen.

    What may be wrong with one machine alone is tried on another once: where it fails, it is begun `elsewhere`.
    """

    number: int
    future: Any
    places: frozenset[str]
    elsewhere: bool
    worker: str | None = None
    since: float = 0.0


class Flight:
    """Tasks that are being done on a cluster, each known by its number.

    What fails is tried again, on another worker where there is one, unless the user has to mend it. A task that is
    overdue (`OVERDUE_SECONDS`, and ten times the median), as one on a dead network file system is, is begun on another
    worker too if its kind admits it, and whichever ends first counts: the run does not need a worker that hangs. The
    scheduler itself does again what a worker had that is gone.

    Args:
        client: Of the cluster.
        name: Unlike that of any other run on the cluster.
        kind: What the tasks are.
        task: What a worker calls with a task's number and what `given` says of it. Nothing it returns is fetched; what
            it raises is a `TaskFailedError`.
        given: What to tell the worker of a task, by whether it is begun elsewhere if that machine's files fail.
        say: Called with a line about overdue tasks, workers that are given no more, and there being none.

    Attributes:
        open: Tasks under way. Attempts that hang are held also when their task is done: their worker is given less.
        pool: The workers.
        able: How many of those that are given tasks have nothing overdue.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        kind: Kind,
        task: Callable[[str, int, Any], None],
        given: Callable[[int, bool], Any],
        say: Callable[[str], None],
    ) -> None:
        self._client: Any = client  # distributed types its calls for both kinds of clients
        self._name, self._kind, self._task, self._given, self._say = name, kind, task, given, say
        self._attempts: dict[str, _Attempt] = {}
        self._numbers = count()
        self._tried: dict[int, list[str]] = {}
        self._told: set[int] = set()
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._looked, self._manned = float("-inf"), time.monotonic()
        self.open: set[int] = set()
        self.pool = WorkerPool(say)
        self.able = 0
        self._look()

    def begin(self, numbers: Sequence[int], workers: Collection[str] = ()) -> None:
        """Submit tasks, to some workers alone if need be."""
        if not numbers:
            return
        places = frozenset(workers or (self.pool.fit if self.pool.unfit else ()))
        # Idle workers steal also what was rather meant for others. What nobody is left to do is found by `_look`.
        where: dict[str, Any] = {"workers": sorted(places), "allow_other_workers": False} if places else {}
        keys = [f"{self._name}-{number}-{next(self._numbers)}" for number in numbers]
        elsewhere = [len(self.pool.fit) > 1 and number not in self._tried for number in numbers]
        given = list(map(self._given, numbers, elsewhere))
        names = [self._name] * len(numbers)
        futures = self._client.map(self._task, names, numbers, given, key=keys, priority=int(bool(workers)), **where)
        for number, key, future, again in zip(numbers, keys, futures, elsewhere, strict=True):
            self._attempts[key] = _Attempt(number, future, places, again)
        self.open.update(numbers)

    def done(self) -> list[int]:
        """Wait for news, a second at most; returns the tasks that are done.

        Raises:
            SpaceClipError: A task met bad input, or failed again and again, or no worker is fit.
            FutureCancelledError: The scheduler was lost.
        """
        self._look()
        # Looking costs less than being called for each, and finds several at once.
        while not (ended := [found for found in self._attempts.values() if found.future.done()]):
            time.sleep(_NAP_SECONDS)
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                break
        return [found.number for found in ended if self._settle(found)]

    def close(self) -> None:
        """Let go of whatever is under way; what has not begun never will."""
        for attempt in self._attempts.values():
            attempt.future.release()
        self._attempts.clear()

    def _settle(self, attempt: _Attempt) -> bool:
        """Take note of an attempt that ended; returns whether its task is done by it."""
        number, future = attempt.number, attempt.future
        del self._attempts[future.key]
        if future.status == "cancelled":
            raise FutureCancelledError(future.key, "connection to the scheduler lost")
        if number not in self.open:
            return False
        if future.status == "finished":
            self._took.append(time.monotonic() - attempt.since if attempt.worker else 0.0)
            tried = self._tried.pop(number, ())
            if self.pool.strikes:  # asking each time would cost
                self.pool.done_by(self._client.who_has([future]).get(future.key, ()), tried)
            self.open.remove(number)
            return True
        error, worker = future.exception(), attempt.worker
        if isinstance(error, TaskFailedError):
            error, worker = error.error, error.worker
        if isinstance(error, WorkerUnfitError) and worker and self.pool.fit - {worker}:
            self.pool.leave_out(worker, str(error))
        elif not self._is_under_way(number):
            self._require_another_try(attempt, worker, error)
        self._again(number)
        return False

    def _is_under_way(self, number: int) -> bool:
        return any(attempt.number == number for attempt in self._attempts.values())

    def _again(self, number: int) -> None:
        """Begin a task again, on a worker that has not tried it where there is one."""
        if not self._is_under_way(number):
            tried = self._tried.get(number)
            self.begin([number], self.pool.others(tried) if tried else ())

    def _require_another_try(self, attempt: _Attempt, worker: str | None, error: BaseException) -> None:
        """Take note of a failure, and end the run where another try would not help."""
        number, name = attempt.number, f"{self._kind.noun} {attempt.number}"
        if isinstance(error, SpaceClipError) and not (attempt.elsewhere and isinstance(error, MachineError)):
            raise error
        if isinstance(error, KilledWorker):
            raise SpaceClipError(
                f"{name}: {error.allowed_failures + 1} workers died while they had it; give them more "
                f"memory, or {self._kind.lighter}; what is saved is safe"
            )
        if isinstance(error, InterruptedError):
            return  # a worker that leaves says so; nothing is wrong with the task
        tried = self._tried.setdefault(number, [])
        tried.append(worker or "")
        if worker:
            self.pool.failed(worker, error)
        if len(tried) == _TRIES:
            raise SpaceClipError(
                f"{name}: failed on the workers {_TRIES} times, at last with {type(error).__name__}: "
                f"{first_line(error)}; their logs say more; what is saved is safe"
            ) from error

    def _look(self) -> None:
        """Once a second, ask which workers there are and what they have."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        processing: dict[str, list[str]] = self._client.processing()
        self._looked, self.pool.present = now, set(processing)
        where = {key: worker for worker, keys in processing.items() for key in keys}
        for key, attempt in self._attempts.items():
            worker = where.get(key)
            if worker != attempt.worker:
                attempt.worker, attempt.since = worker, now
        self._rescue()
        self._hurry(now)
        self._say_deserted(now)

    def _rescue(self) -> None:
        """Begin tasks anew that only workers may do of which none is left."""
        for key, attempt in list(self._attempts.items()):
            if attempt.places and self.pool.present.isdisjoint(attempt.places) and not attempt.future.done():
                attempt.future.release()
                del self._attempts[key]
                if attempt.number in self.open:
                    self._again(attempt.number)

    def _hurry(self, now: float) -> None:
        """Begin tasks again whose every attempt is overdue, on workers that have no such attempt."""
        usual = median(self._took) if self._took else 0.0
        limit = max(OVERDUE_SECONDS, _OVERDUE_TIMES * usual)
        attempts = self._attempts.values() if self._kind.twice else ()
        slow = [found for found in attempts if found.worker and now - found.since > limit]
        able = self.pool.fit.difference(str(found.worker) for found in slow)
        self.able = len(able)
        live = {found.number for found in self._attempts.values() if found not in slow}
        late = self.open.intersection(found.number for found in slow) - live
        if not able:
            late -= self._told
        if not late:
            return
        self._told |= late
        places = ", ".join(sorted({str(found.worker) for found in slow if found.number in late}))
        self._say(
            f"overdue on {places} after {limit:.0f} s (usual: {usual:.1f} s): {self._kind.noun}s "
            f"{', '.join(map(str, sorted(late)))}; "
            + ("other workers do them too" if able else "no other worker is here to do them")
        )
        if able:
            self.begin(sorted(late), able)

    def _say_deserted(self, now: float) -> None:
        if self.pool.present:
            self._manned = now
        elif now - self._manned > _PATIENCE_SECONDS:
            self._manned = float("inf")  # it is said once
            self._say(
                f"no worker has been here for {_PATIENCE_SECONDS:.0f} s: waiting for some "
                f"(`dask worker {self._client.scheduler.address}`)"
            )
