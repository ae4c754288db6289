"""Threads that read files: they give up what never ends, and share the memory that decoding takes."""

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from ..cache import SpaceClipError
from .problems import first_few
from .threads import Permits, Threads

HANG_SECONDS = 300.0
"""What takes longer to read will never end."""

SLOW_SECONDS = 30.0
"""It is said of what takes longer to read."""

LOOK_SECONDS = 0.2
"""How often to look for those."""

SMALL = 1_000_000
"""Pictures of up to so many pixels take so little that they are not counted."""
PICTURE_BYTES, DEPTH_BYTES = 4, 14
"""That a pixel takes: Pillow's RGB; a depth map as stored, in Pillow and out of it, in metres and in counts."""
_BYTES, _BYTES_A_THREAD = 4 * 128_000_000, 4 * 16_000_000

T = TypeVar("T")
Item = TypeVar("Item")


class HangingError(SpaceClipError):
    """Reading does not end, on this machine at least."""


@dataclass(eq=False)
class _Reading:
    """What is to be read, and who is told what has become of it.

    Attributes:
        name: Of what is read.
        use: Gets what was read.
        failed: Gets why it cannot be.
        busy: See `Readers`.
        permits: What may be decoded at once by all of its threads, in pixels.
        held: Of these, what it has.
        since: When it began, or was allowed to go on.
        is_slow: Whether that has been said.
        ended: Is set when it is known what has become of it.
    """

    name: str
    use: Callable[[Any], None]
    failed: Callable[[BaseException], None]
    busy: Callable[[], AbstractContextManager[None]]
    permits: Permits
    held: int = 0
    since: float = 0.0
    is_slow: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    _working: ExitStack = field(default_factory=ExitStack)

    def work(self) -> None:
        """From now on it is busy."""
        self._working.enter_context(self.busy())
        self.since = time.perf_counter()

    def rest(self) -> None:
        """From now on it is not."""
        self.since = math.inf
        self._working.close()

    def wait_for(self, pixels: int) -> None:
        """Wait until so many pixels may be decoded."""
        # Once: depth has its image's size, and what waits for more while it holds some may wait forever.
        if not self.held:
            self.rest()
            self.held = self.permits.take(pixels)
            self.work()

    def end(self, found: Any) -> None:
        """Hand over what was read."""
        try:
            self.use(found)
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


_here: ContextVar[_Reading | None] = ContextVar("_here", default=None)


def decoded_bytes(threads: int) -> int:
    """Bytes of what threads decode at once, at most, or of one picture that takes more; others wait for one another."""
    return max(_BYTES, threads * _BYTES_A_THREAD)


def wait_to_decode(pixels: int) -> None:
    """Wait, in a thread of `Readers`, until a picture of so many pixels may be decoded beside those of the others.

    Raises:
        Closed: The run has ended.
    """
    if pixels > SMALL and (reading := _here.get()):
        reading.wait_for(pixels)


class Readers:
    """Threads that read. A `with` block that is left waits for none that hangs.

    Args:
        threads: How many.
        name: Of the threads.
        pixel_bytes: That a pixel takes while it is decoded.
        busy: Made for each time in which one works, and does not wait for others; counts how long.
        say: Called with a line about what takes long.
    """

    def __init__(
        self,
        threads: int,
        name: str,
        *,
        pixel_bytes: int = PICTURE_BYTES,
        busy: Callable[[], AbstractContextManager[None]] = nullcontext,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._busy, self._say, self._threads = busy, say, Threads(threads, name)
        self._permits = Permits(decoded_bytes(threads) // pixel_bytes)
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
        read: Callable[[], T],
        name: str,
        use: Callable[[T], None],
        failed: Callable[[BaseException], None],
        unless: Callable[[], bool] = lambda: False,
    ) -> threading.Event:
        """Have something read; exactly one of two functions is called, from another thread.

        Args:
            read: Reads it.
            name: What it is, for messages.
            use: Gets what was read.
            failed: Gets why it cannot be, or why `use` could not.
            unless: Whether nobody needs it any more; then neither is called.

        Returns:
            What is set when that has been done.
        """
        reading = _Reading(name, use, failed, self._busy, self._permits)
        self._threads.submit(self._read, reading, read, unless)
        return reading.ended

    def look(self) -> None:
        """Give up what hangs, as a read of a pipe or a network mount that is gone. Safe from any thread."""
        now = time.perf_counter()
        with self._lock:
            reading = sorted(self._reading, key=lambda one: one.since)
            slow = [one for one in reading if now - one.since > SLOW_SECONDS and not one.is_slow]
            for one in slow:
                one.is_slow = True
        if slow:
            names = first_few([one.name for one in slow])
            self._say(f"waiting for {names}: reading takes over {SLOW_SECONDS:.0f} s; given up at {HANG_SECONDS:.0f} s")
        for one in reading:
            if now - one.since > HANG_SECONDS and self._claimed(one):
                self._free(one)
                self._threads.start_one()
                one.fail(
                    HangingError(
                        f"{one.name}: reading it has not ended in {HANG_SECONDS:.0f} s: is its file a pipe, or "
                        "on a network mount that does not answer? mend that, then run the same command again to go on"
                    )
                )

    def close(self) -> None:
        """Begin with no more."""
        self._threads.shutdown()
        self._permits.close()

    def _read(self, reading: _Reading, read: Callable[[], Any], unless: Callable[[], bool]) -> None:
        if unless():
            reading.ended.set()
            return
        reading.work()
        with self._lock:
            self._reading.add(reading)
        here = _here.set(reading)
        try:
            found = read()
        except BaseException as error:
            if self._claimed(reading):
                reading.fail(error)
        else:
            if self._claimed(reading):
                reading.end(found)
        finally:
            _here.reset(here)
            reading.rest()
            self._free(reading)

    def _claimed(self, reading: _Reading) -> bool:
        """Whether it is the caller's to say what has become of it: its reader's, or that of who gave it up."""
        with self._lock:
            found = reading in self._reading
            self._reading.discard(reading)
        return found

    def _free(self, reading: _Reading) -> None:
        """Let others have what it holds, once: its reader calls this, and who gave it up."""
        with self._lock:
            held, reading.held = reading.held, 0
        if held:
            self._permits.give(held)


def read_each(
    items: Sequence[Item],
    read: Callable[[Item], T],
    name: Callable[[Item], str],
    threads: int,
    say: Callable[[str], None] = lambda _line: None,
) -> Generator[T | SpaceClipError]:
    """What is read of each item, in their order; in place of one that cannot be used, why.

    Args:
        items: What to read, several at a time.
        read: Reads one.
        name: Of one, for messages.
        threads: How many read.
        say: Called with a line about what takes long.
    """
    found: dict[int, T | BaseException] = {}
    with Readers(threads, "read", say=say) as readers:
        readings = []
        for at, item in enumerate(items):
            keep = partial(found.__setitem__, at)
            readings.append(readers.submit(partial(read, item), name(item), keep, keep))
        for at, ended in enumerate(readings):
            while not ended.wait(LOOK_SECONDS):
                readers.look()
            outcome = found.pop(at)
            if isinstance(outcome, BaseException) and not isinstance(outcome, SpaceClipError):
                raise outcome
            yield outcome
