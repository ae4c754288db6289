"""Progress of reading a store, in megabytes, counted from several threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from ..progress import progress


@contextmanager
def counting(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of the bytes in all are done.

    Yields:
        A function to call with the bytes of each piece of work, from any thread.
    """
    done, lock = 0, Lock()
    with progress(label, "MB") as report:

        def count(size: int) -> None:
            nonlocal done
            with lock:
                done += size
                report(done // 10**6, total // 10**6)

        yield count
