"""Files that readers hold open: so many in the whole process at most, and none of a reader that is gone."""

import errno
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from itertools import count
from threading import RLock
from typing import Any, TypeVar

_MOST = 2**15
T = TypeVar("T")

Name = tuple[int, int, int]
"""Of an object: its reader's number, shard and view."""


class OpenFiles:
    """What readers hold open; what was opened first is let go for others. Safe to use from many threads.

    Args:
        most: How many; by default half of what the process may have, after asking the system for many.

    Attributes:
        held: By name. Readers, who ask for each chunk, look there without a lock.
    """

    def __init__(self, most: int | None = None) -> None:
        if most is not None:
            self.most = most
        self.held: dict[Name, Any] = {}
        # Of a thread's own: an owner may go, by a garbage collection, while its thread is in here.
        self._lock = RLock()
        self._owners = count()

    @cached_property
    def most(self) -> int:
        """How many are held at most."""
        return _most_of_the_process() // 2

    def owner(self, reader: object) -> int:
        """A number for a reader, all of whose files are let go with it."""
        number = next(self._owners)
        weakref.finalize(reader, self._forget, number).atexit = False
        return number

    def open(self, name: Name, opened: Callable[[], T]) -> T:
        """Open what is not held yet."""
        try:
            made = opened()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._keep(len(self.held) // 2)
            made = opened()
        with self._lock:
            found = self.held.setdefault(name, made)
        self._keep(self.most)
        return found

    def let_go(self, name: Name) -> None:
        """Have it opened anew next time."""
        with self._lock:
            self.held.pop(name, None)

    def _keep(self, most: int) -> None:
        with self._lock:
            while len(self.held) > most:
                del self.held[next(iter(self.held))]

    def _forget(self, owner: int) -> None:
        with self._lock:
            for key in [key for key in self.held if key[0] == owner]:
                del self.held[key]


def _most_of_the_process() -> int:
    try:
        import resource  # which Windows has not
    except ImportError:
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


OPEN_FILES = OpenFiles()
"""Of this process."""
