"""Threads that decode samples, and give up one whose reading never ends."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from ..cache import SpaceClipError, StoreSpec
from .problems import first_few
from .samples import Block, prepare_sample
from .sources.source import Loader
from .threads import Threads

HANG_SECONDS = 300.0
"""Reading a sample that takes longer will never end."""

SLOW_SECONDS = 30.0
"""It is said of a sample that takes longer to read."""

LOOK_SECONDS = 0.2
"""How often to look for those."""

T = TypeVar("T")


class HangingError(SpaceClipError):
    """Reading a sample does not end, on this machine at least."""


@dataclass(eq=False)
class _Reading:
    """A sample that is to be decoded, and who is told what has become of it."""

    row: int
    use: Callable[[Block], None]
    failed: Callable[[BaseException], None]
    since: float = 0.0
    is_slow: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def end(self, sample: Block) -> None:
        """Hand over what was decoded."""
        try:
            self.use(sample)
        except BaseException as error:
            self.failed(error)
        finally:
            self.ended.set()

    def fail(self, error: BaseException) -> None:
        """Say why nothing was."""
        try:
            self.failed(error)
        finally:
            self.ended.set()


class Decoders:
    """Threads that decode samples. A `with` block that is left waits for none that hangs.

    Args:
        source: The samples.
        spec: The sizes to bring them to.
        threads: How many.
        busy: See `Threads`.
        say: Called with a line about samples that take long.
    """

    def __init__(
        self,
        source: Loader,
        spec: StoreSpec,
        threads: int,
        *,
        busy: Callable[[], AbstractContextManager[None]] = nullcontext,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._source, self._spec, self._say = source, spec, say
        self._threads = Threads(threads, "decode", busy)
        self._reading: set[_Reading] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self,
        row: int,
        use: Callable[[Block], None],
        failed: Callable[[BaseException], None],
        unless: Callable[[], bool] = lambda: False,
    ) -> threading.Event:
        """Have a sample decoded; exactly one of two functions is called, from another thread.

        Args:
            row: Of the sample.
            use: Gets what was decoded.
            failed: Gets why it cannot be, or why `use` could not.
            unless: Whether nobody needs it any more; then neither is called.

        Returns:
            What is set when that has been done.
        """
        reading = _Reading(row, use, failed)
        self._threads.submit(self._decode, reading, unless)
        return reading.ended

    def look(self) -> None:
        """Give up samples whose reading hangs, as on a pipe or a network mount that is gone. Safe from any thread."""
        now = time.perf_counter()
        with self._lock:
            reading = sorted(self._reading, key=lambda one: one.since)
            slow = [one for one in reading if now - one.since > SLOW_SECONDS and not one.is_slow]
            for one in slow:
                one.is_slow = True
        if slow:
            names = first_few([self._name(one) for one in slow])
            self._say(f"waiting for {names}: reading takes over {SLOW_SECONDS:.0f} s; given up at {HANG_SECONDS:.0f} s")
        for one in reading:
            if now - one.since > HANG_SECONDS and self._claimed(one):
                self._threads.start_one()
                one.fail(
                    HangingError(
                        f"{self._name(one)}: reading it has not ended in {HANG_SECONDS:.0f} s: is its file a pipe, or "
                        "on a network mount that does not answer? mend that, then run the same command again to go on"
                    )
                )

    def close(self) -> None:
        """Begin with no more."""
        self._threads.shutdown()

    def _decode(self, reading: _Reading, unless: Callable[[], bool]) -> None:
        if unless():
            reading.ended.set()
            return
        reading.since = time.perf_counter()
        with self._lock:
            self._reading.add(reading)
        try:
            sample = prepare_sample(self._source, self._spec, reading.row)
        except BaseException as error:
            if self._claimed(reading):
                reading.fail(error)
        else:
            if self._claimed(reading):
                reading.end(sample)

    def _claimed(self, reading: _Reading) -> bool:
        """Whether it is the caller's to say what has become of a sample: its decoder's, or that of who gave it up."""
        with self._lock:
            found = reading in self._reading
            self._reading.discard(reading)
        return found

    def _name(self, reading: _Reading) -> str:
        return self._spec.entries[reading.row].id


def each_sample(
    source: Loader,
    spec: StoreSpec,
    rows: Sequence[int],
    threads: int,
    use: Callable[[Block], T],
    say: Callable[[str], None] = lambda _line: None,
) -> list[T | SpaceClipError]:
    """What `use` makes of some samples; in place of one that cannot be used, why."""
    found: dict[int, T | BaseException] = {}

    def keep(at: int, sample: Block) -> None:
        found[at] = use(sample)

    with Decoders(source, spec, threads, say=say) as decoders:
        readings = [
            decoders.submit(row, partial(keep, at), partial(found.__setitem__, at)) for at, row in enumerate(rows)
        ]
        for ended in readings:
            while not ended.wait(LOOK_SECONDS):
                decoders.look()
    outcomes: list[T | SpaceClipError] = []
    for at in range(len(rows)):
        outcome = found[at]
        if isinstance(outcome, BaseException) and not isinstance(outcome, SpaceClipError):
            raise outcome
        outcomes.append(outcome)
    return outcomes
