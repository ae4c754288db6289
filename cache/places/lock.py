"""One writer a store: the second is turned away."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BusyError, StoreError
from .location import Location, Url

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

# File systems that know no locks say one of these; on macOS the last two are not the same.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def only_writer(store: Location, what: str = "store") -> Iterator[Callable[[], None]]:
    """Hold a store, there or yet to be made, against other runs.

    On a file system the lock is a file beside the store, held by the kernel: it is free as soon as its process is gone,
    however it went. Where the system knows no such locks, the file itself is the lock, and stays when its process is
    killed.
    In a bucket it is a lease (see `lease`).

    Args:
        store: What is written.
        what: Its kind, for messages.

    Yields:
        A function that raises where another run has taken the store over; to be called before what cannot be undone.

    Raises:
        BusyError: Another process writes this store.
        StoreError: The place cannot be written to.
    """
    if isinstance(store, Url):
        from .lease import leased

        with leased(store) as check:
            yield check
        return
    # One lock for all names of the store.
    real = Path(os.path.realpath(store))
    path = real.with_name(f".{real.name}.lock")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, store, what)
    except OSError as error:
        raise StoreError(f"{store}: cannot be written to ({error.strerror}); give another path") from error
    try:
        # Only for the message to others; a disk that is full still holds the lock.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield lambda: None
    finally:
        if _lies_at(file, path):
            path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path, store: Path, what: str) -> int:
    while True:
        file, made = _opened(path)
        try:
            _lock(file)
            # The one before deletes the file when it is done: what was locked must still be the one at this path.
            if _lies_at(file, path):
                return file
        except OSError as error:
            lockless = error.errno in _NO_LOCKS
            if lockless and made:
                return file
            holder = os.read(file, 200).decode(errors="replace") or "another process"
            os.close(file)
            if lockless:
                raise StoreError(
                    f"{store}: {holder} is writing this {what}, or was killed; this file system knows no locks, so if "
                    f"that process is gone, delete {path}, then run the same command again"
                ) from None
            if isinstance(error, BlockingIOError):
                raise BusyError(
                    f"{store}: {holder} is writing this {what}; wait for it, or end it, then run the same command again"
                ) from None
            raise
        os.close(file)


def _lock(file: int) -> None:
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _opened(path: Path) -> tuple[int, bool]:
    """The lock's file, and whether it was not there before."""
    while True:
        with suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        # Its holder may be done just now.
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR), False


def _lies_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
