"""Shards in flight on a Dask cluster: on which worker each is, for how long, and what has become of it."""

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

from ...cache import SpaceClipError
from ..problems import first_line
from .worker_pool import MachineError, ShardFailedError, WorkerPool, WorkerUnfitError

OVERDUE_SECONDS = 600.0
"""A shard is never called overdue before; the first ones load the encoder."""

_OVERDUE_TIMES = 10
_REMEMBERED = 99
_LOOK_SECONDS = 1.0
_NAP_SECONDS = 0.01
_PATIENCE_SECONDS = 30.0
_TRIES = 4


@dataclass(eq=False)
class _Attempt:
    """One task of a shard, for the workers named or for any; `worker` has had it `since` then, as far as was seen.

    What may be wrong with one machine alone is tried on another once: where it fails, it is begun `elsewhere`.
    """

    shard: int
    future: Any
    places: frozenset[str]
    elsewhere: bool
    worker: str | None = None
    since: float = 0.0


class Flight:
    """Shards that are being computed on a cluster; what a task does besides its first shard goes by that.

    What fails is tried again, on another worker where there is one, unless the user has to mend it. A shard that is
    overdue (`OVERDUE_SECONDS`, and ten times the median), as one on a dead network file system is, is begun on another
    worker too, and whichever ends first counts: the run does not need a worker that hangs. The scheduler itself does
    again what a worker had that is gone.

    Args:
        client: Of the cluster.
        name: Unlike that of any other run on the cluster.
        task: What a worker calls with a shard and what `given` says of it. Nothing it returns is fetched; what it
            raises is a `ShardFailedError`.
        given: What to tell the worker of a shard, by whether it is begun elsewhere if that machine's files fail.
        say: Called with a line about overdue shards, workers that are given no more, and there being none.

    Attributes:
        open: Shards under way. Tasks that hang are held also when their shard is done: their worker is given less.
        pool: The workers.
        able: How many of those that are given shards have nothing overdue.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        task: Callable[[str, int, Any], None],
        given: Callable[[int, bool], Any],
        say: Callable[[str], None],
    ) -> None:
        self._client: Any = client  # distributed types its calls for both kinds of clients
        self._name, self._task, self._given, self._say = name, task, given, say
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

    def begin(self, shards: Sequence[int], workers: Collection[str] = ()) -> None:
        """Submit shards, to some workers alone if need be."""
        if not shards:
            return
        places = frozenset(workers or (self.pool.fit if self.pool.unfit else ()))
        # Idle workers steal also what was rather meant for others. What nobody is left to do is found by `_look`.
        where: dict[str, Any] = {"workers": sorted(places), "allow_other_workers": False} if places else {}
        keys = [f"{self._name}-{shard}-{next(self._numbers)}" for shard in shards]
        elsewhere = [len(self.pool.fit) > 1 and shard not in self._tried for shard in shards]
        given = list(map(self._given, shards, elsewhere))
        names = [self._name] * len(shards)
        futures = self._client.map(self._task, names, shards, given, key=keys, priority=int(bool(workers)), **where)
        for shard, key, future, again in zip(shards, keys, futures, elsewhere, strict=True):
            self._attempts[key] = _Attempt(shard, future, places, again)
        self.open.update(shards)

    def done(self) -> list[int]:
        """Wait for news, a second at most; returns shards that are done.

        Raises:
            SpaceClipError: A shard met bad input, or failed again and again, or no worker is fit.
            FutureCancelledError: The scheduler was lost.
        """
        self._look()
        # Looking costs less than being called for each, and finds several at once.
        while not (ended := [found for found in self._attempts.values() if found.future.done()]):
            time.sleep(_NAP_SECONDS)
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                break
        return [found.shard for found in ended if self._settle(found)]

    def close(self) -> None:
        """Let go of whatever is under way; what has not begun never will."""
        for attempt in self._attempts.values():
            attempt.future.release()
        self._attempts.clear()

    def _settle(self, attempt: _Attempt) -> bool:
        """Take note of a task that ended; returns whether its shard is done by it."""
        shard, future = attempt.shard, attempt.future
        del self._attempts[future.key]
        if future.status == "cancelled":
            raise FutureCancelledError(future.key, "connection to the scheduler lost")
        if shard not in self.open:
            return False
        if future.status == "finished":
            self._took.append(time.monotonic() - attempt.since if attempt.worker else 0.0)
            tried = self._tried.pop(shard, ())
            if self.pool.strikes:  # asking each time would cost
                self.pool.done_by(self._client.who_has([future]).get(future.key, ()), tried)
            self.open.remove(shard)
            return True
        error, worker = future.exception(), attempt.worker
        if isinstance(error, ShardFailedError):
            error, worker = error.error, error.worker
        if isinstance(error, WorkerUnfitError) and worker and self.pool.fit - {worker}:
            self.pool.leave_out(worker, str(error))
        elif not self._is_under_way(shard):
            self._require_another_try(attempt, worker, error)
        self._again(shard)
        return False

    def _is_under_way(self, shard: int) -> bool:
        return any(attempt.shard == shard for attempt in self._attempts.values())

    def _again(self, shard: int) -> None:
        """Begin a shard again, on a worker that has not tried it where there is one."""
        if not self._is_under_way(shard):
            tried = self._tried.get(shard)
            self.begin([shard], self.pool.others(tried) if tried else ())

    def _require_another_try(self, attempt: _Attempt, worker: str | None, error: BaseException) -> None:
        """Take note of a failure, and end the run where another try would not help."""
        shard = attempt.shard
        if isinstance(error, SpaceClipError) and not (attempt.elsewhere and isinstance(error, MachineError)):
            raise error
        if isinstance(error, KilledWorker):
            raise SpaceClipError(
                f"shard {shard}: {error.allowed_failures + 1} workers died while they had it; give them more memory, "
                "or fewer images a shard; committed shards are safe"
            )
        if isinstance(error, InterruptedError):
            return  # a worker that leaves says so; nothing is wrong with the shard
        tried = self._tried.setdefault(shard, [])
        tried.append(worker or "")
        if worker:
            self.pool.failed(worker, error)
        if len(tried) == _TRIES:
            raise SpaceClipError(
                f"shard {shard}: failed on the workers {_TRIES} times, at last with {type(error).__name__}: "
                f"{first_line(error)}; their logs say more; committed shards are safe"
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
        """Begin shards anew that only workers may do of which none is left."""
        for key, attempt in list(self._attempts.items()):
            if attempt.places and self.pool.present.isdisjoint(attempt.places) and not attempt.future.done():
                attempt.future.release()
                del self._attempts[key]
                if attempt.shard in self.open:
                    self._again(attempt.shard)

    def _hurry(self, now: float) -> None:
        """Begin shards again whose every task is overdue, on workers that have no such task."""
        usual = median(self._took) if self._took else 0.0
        limit = max(OVERDUE_SECONDS, _OVERDUE_TIMES * usual)
        slow = [found for found in self._attempts.values() if found.worker and now - found.since > limit]
        able = self.pool.fit.difference(str(found.worker) for found in slow)
        self.able = len(able)
        live = {found.shard for found in self._attempts.values() if found not in slow}
        late = self.open.intersection(found.shard for found in slow) - live
        if not able:
            late -= self._told
        if not late:
            return
        self._told |= late
        places = ", ".join(sorted({str(found.worker) for found in slow if found.shard in late}))
        self._say(
            f"overdue on {places} after {limit:.0f} s (usual: {usual:.1f} s): shards "
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
