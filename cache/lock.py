"""One writer a store: the second is turned away, and what killed ones left half done is swept up."""

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StoreError
from .layout import arrays
from .ledger import FOLDER
from .location import Location, Url
from .spec import StoreSpec

# File systems that know no locks say one of these.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def only_writer(store: Location) -> Iterator[Callable[[], None]]:
    """Hold a store, there or yet to be made, against other runs.

    On a file system the lock is a file beside the store, held by the kernel: it is free as soon as its process is gone,
    however it went. In a bucket it is a lease (see `lease`).

    Yields:
        A function that raises where another run has taken the store over; to be called before what cannot be undone.

    Raises:
        StoreError: Another process writes this store, or the place cannot be written to.
    """
    if isinstance(store, Url):
        from .lease import leased

        with leased(store) as check:
            yield check
        return
    path = store.with_name(f".{store.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, store)
    except OSError as error:
        raise StoreError(f"{store}: cannot be written to ({error.strerror}); give another path") from error
    try:
        # Only for the message to others; a disk that is full still holds the lock.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield lambda: None
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def sweep(store: Location, spec: StoreSpec, shards: Iterable[int]) -> None:
    """Delete what killed writers left. Only for the one who holds the store, before anybody writes.

    Args:
        store: The store; in a bucket nothing is ever left half written, and what has no record is written over.
        spec: What it holds.
        shards: Those without a record; nothing partial can be in the others.
    """
    if isinstance(store, Url):
        return
    pending = {str(shard) for shard in shards}
    for name in arrays(spec):
        objects = store / name / "c"
        for begun in pending.intersection(os.listdir(objects) if objects.is_dir() else ()):  # noqa: PTH208
            shutil.rmtree(objects / begun)
    for place in (store, store / FOLDER, *(store / name for name in arrays(spec))):
        for partial in place.glob(".*"):
            partial.unlink(missing_ok=True)


def _locked(path: Path, store: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before deletes the file when it is done: what was locked must still be the one at this path.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            holder = os.read(file, 200).decode(errors="replace") or "another process"
            os.close(file)
            raise StoreError(
                f"{store}: {holder} is writing this store; wait for it, or end it, then run the same command again"
            ) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return file
            os.close(file)
            raise
        os.close(file)
