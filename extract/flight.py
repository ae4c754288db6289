"""Shards in flight on a Dask cluster: on which worker each is, for how long, and what has become of it."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from distributed import Client, Future
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from ..cache import SpaceClipError

OVERDUE_SECONDS = 600.0
"""A shard is never called overdue before; the first ones load the encoder."""

_OVERDUE_TIMES = 10
_REMEMBERED = 99
_LOOK_SECONDS = 1.0
_NAP_SECONDS = 0.01
_TRIES = 4


@dataclass(eq=False)
class _Attempt:
    """One task of a shard; `worker` has had it `since` then, as far as was seen, or nobody has it yet."""

    shard: int
    future: Future
    worker: str | None = None
    since: float = 0.0


class Flight:
    """Shards that are being computed on a cluster.

    What fails is tried again, unless the user has to mend it. A shard that is overdue, as one on a dead network file
    system is, is begun on another worker too, and whichever ends first counts: the run does not need a worker that
    hangs. The scheduler itself does again what a worker had that is gone.

    Args:
        client: Of the cluster.
        name: Unlike that of any other run on the cluster.
        task: What a worker calls with a shard and what `given` says of it. Nothing it returns is fetched.
        given: What to tell the worker of a shard.
        say: Told in a line of shards that are overdue.
        overdue_seconds: Shards that take longer, and ten times the median too, are overdue.

    Attributes:
        open: Shards under way. Tasks that hang are held also when their shard is done: their worker is given less.
        workers: How many workers there are.
        able: Those of them that have nothing overdue.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        task: Callable[[str, int, Any], None],
        given: Callable[[int], Any],
        say: Callable[[str], None],
        overdue_seconds: float = OVERDUE_SECONDS,
    ) -> None:
        self._client: Any = client  # distributed types its calls for both kinds of clients
        self._name, self._task, self._given, self._say = name, task, given, say
        self._overdue_seconds = overdue_seconds
        self._attempts: dict[str, _Attempt] = {}
        self._begun: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._told: set[int] = set()
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._looked = float("-inf")
        self.open: set[int] = set()
        self.workers = self.able = 0

    def begin(self, shards: Sequence[int], workers: Sequence[str] = ()) -> None:
        """Submit shards, to some workers rather than others if need be."""
        if not shards:
            return
        keys = []
        for shard in shards:
            self._begun[shard] += 1
            keys.append(f"{self._name}-{shard}-{self._begun[shard]}")
        elsewhere = {"workers": list(workers), "allow_other_workers": True, "priority": 1} if workers else {}
        given = [self._given(shard) for shard in shards]
        futures = self._client.map(self._task, [self._name] * len(shards), shards, given, key=keys, **elsewhere)
        for shard, key, future in zip(shards, keys, futures, strict=True):
            self._attempts[key] = _Attempt(shard, future)
        self.open.update(shards)

    def done(self) -> list[int]:
        """Wait for news, a second at most; returns shards that are done.

        Raises:
            SpaceClipError: A shard met bad input, or failed again and again.
            FutureCancelledError: The scheduler was lost.
        """
        self._look()
        # Looking costs less than being called for each, and finds several at once.
        while not (ended := [found for found in self._attempts.values() if found.future.done()]):
            time.sleep(_NAP_SECONDS)
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                break
        return [found.shard for found in ended if self._settle(found)]

    def release(self) -> None:
        """Let go of whatever is under way; what has not begun never will."""
        for attempt in self._attempts.values():
            attempt.future.release()
        self._attempts.clear()

    def _settle(self, attempt: _Attempt) -> bool:
        """Take note of a task that ended; returns whether its shard is done by it."""
        shard = attempt.shard
        future: Any = attempt.future  # distributed types its calls for both kinds of clients
        del self._attempts[str(future.key)]
        if future.status == "cancelled":
            raise FutureCancelledError(future.key, "connection to the scheduler lost")
        if shard not in self.open:
            return False
        if future.status == "finished":
            self._took.append(time.monotonic() - attempt.since if attempt.worker else 0.0)
            self.open.remove(shard)
            return True
        if not any(other.shard == shard for other in self._attempts.values()):
            self._again(shard, future.exception())
        return False

    def _again(self, shard: int, error: BaseException | None) -> None:
        if isinstance(error, SpaceClipError):
            raise error
        if isinstance(error, KilledWorker):
            raise SpaceClipError(
                f"shard {shard}: {error.allowed_failures + 1} workers died while they had it; give them more memory, "
                "or fewer images a shard; committed shards are safe"
            )
        # A worker that leaves says that it was interrupted; nothing is wrong with the shard.
        self._failed[shard] += not isinstance(error, InterruptedError)
        if self._failed[shard] == _TRIES:
            first, *_ = str(error).strip().splitlines() or [""]
            raise SpaceClipError(
                f"shard {shard}: failed on the workers {_TRIES} times, at last with {type(error).__name__}: {first}; "
                "their logs say more; committed shards are safe"
            ) from error
        self.begin([shard])

    def _look(self) -> None:
        """Once a second, ask how many workers there are and what they have."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        processing: dict[str, list[str]] = self._client.processing()
        self._looked, self.workers = now, len(processing)
        where = {key: worker for worker, keys in processing.items() for key in keys}
        for key, attempt in self._attempts.items():
            worker = where.get(key)
            if worker != attempt.worker:
                attempt.worker, attempt.since = worker, now
        self._hurry(list(processing), now)

    def _hurry(self, workers: Sequence[str], now: float) -> None:
        """Begin shards again whose every task is overdue, on workers that have no such task."""
        usual = median(self._took) if self._took else 0.0
        limit = max(self._overdue_seconds, _OVERDUE_TIMES * usual)
        slow = [found for found in self._attempts.values() if found.worker and now - found.since > limit]
        live = {found.shard for found in self._attempts.values() if found not in slow}
        late = sorted({found.shard for found in slow if found.shard in self.open} - live)
        able = sorted(set(workers) - {found.worker for found in slow})
        self.able = len(able)
        if not able:
            late = [shard for shard in late if shard not in self._told]
        if not late:
            return
        self._told.update(late)
        places = ", ".join(sorted({str(found.worker) for found in slow if found.shard in late}))
        self._say(
            f"overdue on {places} after {limit:.0f} s (usual: {usual:.1f} s): shards {', '.join(map(str, late))}; "
            + ("other workers do them too" if able else "no other worker is here to do them")
        )
        if able:
            self.begin(late, able)
