"""One writer for a store in a bucket: an object beside the store, which its holder renews."""

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .bucket import Bucket, Version
from .location import Url

# Seconds between two renewals.
RENEW = 20.0
# Seconds without one after which a holder is taken for dead: measured by the clock of the one who waits, as those of
# two machines may differ.
PATIENCE = 60.0
# Seconds between two looks while waiting.
LOOK = 2.0

# Tokens of this process: a lock of another token that names it was left by a run whose connection was lost.
_HELD: set[str] = set()

# A clock that also goes while the machine sleeps: on macOS this is the monotonic one.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease:
    """The right to write a store, from its making to its `release`.

    A server that knows no conditional puts (`AWS_CONDITIONAL_PUT=disabled` says so) keeps no second run away: then
    there is no lock. A write that is under way while another run takes over may still arrive after it.

    Args:
        store: The store, there or yet to be made.

    Raises:
        StoreError: Another process writes this store, or the place cannot be written to.
    """

    def __init__(self, store: Url) -> None:
        self.store = store
        self._bucket, self._key = _beside(store)
        self._content: dict[str, Any] = {**_self(), "token": secrets.token_hex(16), "renewal": 0}
        self._version: Version | None = None
        self._renewed = _now()
        self._taken = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        _HELD.add(self._content["token"])
        try:
            self._acquire()
            self._renew()  # some servers know only the condition of the first put
        except StoreError:
            self._let_go()
            raise
        except OSError as error:
            self._let_go()
            if error.errno != errno.ENOTSUP:
                raise StoreError(f"{store}: cannot be written to ({error.strerror}); give another path") from error
            self._do_without()
            return
        self._thread = threading.Thread(target=self._keep, name=f"lease of {store}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the store is still ours. For just before a record is committed.

        Raises:
            StoreError: Another run has taken over, or may have: the bucket cannot be reached.
        """
        if self._version is not None and self._overdue:
            try:
                self._renew()
            except OSError as error:
                raise StoreError(
                    f"{self.store}: cannot be written to ({error.strerror}); what was committed is safe: "
                    "run the same command again to go on"
                ) from error
        if self._taken:
            raise StoreError(
                f"{self.store}: another run has taken over this store ({self._taken}); "
                "this one ends here, and what it has committed is safe"
            )

    def release(self) -> None:
        """Let others write. Without a connection to the bucket the lock stays; the next run finds it dead."""
        self._let_go()
        if self._version is None:
            return
        self._ended.set()
        self._thread.join(0 if self._overdue else RENEW)
        if self._taken or self._overdue or self._thread.is_alive():
            return
        with suppress(OSError):
            if self._is_ours(self._found()):
                self._bucket.delete(self._key)

    def _let_go(self) -> None:
        _HELD.discard(self._content["token"])

    @property
    def _overdue(self) -> bool:
        return _now() - self._renewed > 1.5 * RENEW

    def _acquire(self) -> None:
        while self._version is None:
            try:
                self._write(None)
            except FileExistsError:
                found = self._found()
                if found is None:
                    continue
                if self._is_ours(found) or _is_dead(found[0]) or self._is_silent(*found):
                    with suppress(FileExistsError):
                        self._write(found[1])

    def _is_silent(self, holder: dict[str, Any], version: Version) -> bool:
        """Wait for the holder's next renewal.

        Raises:
            StoreError: It came.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(LOOK)
            found = self._found()
            if found is None:
                return False
            if found[1] != version:
                raise StoreError(
                    f"{self.store}: {_who(found[0])} is writing this store; wait for it, or end it, then run the same "
                    "command again"
                )
        return True

    def _do_without(self) -> None:
        if self._version is not None:
            with suppress(OSError):
                self._bucket.delete(self._key)
        self._version = None

    def _keep(self) -> None:
        while not self._ended.wait(RENEW) and not self._taken:
            # A connection that is gone for longer is met by the writer, who says so.
            with suppress(OSError):
                self._renew()

    def _renew(self) -> None:
        with self._lock:
            if self._taken:
                return
            try:
                self._write(self._version)
            except FileExistsError:
                found = self._found()
                if self._is_ours(found):  # the answer to an earlier renewal was lost
                    self._version = found[1] if found else None
                else:
                    self._taken = _who(found[0]) if found else "its lock was deleted"

    def _write(self, version: Version | None) -> None:
        began = _now()
        # Unlike the last one: the version of an object may be a hash of its content.
        self._content["renewal"] += 1
        self._version = self._bucket.write_if(self._key, json.dumps(self._content).encode(), version)
        self._renewed = began

    def _found(self) -> tuple[dict[str, Any], Version] | None:
        try:
            content, version = self._bucket.version(self._key)
        except FileNotFoundError:
            return None
        try:
            holder = json.loads(content)
        except ValueError:
            holder = {}
        return (holder if isinstance(holder, dict) else {}), version

    def _is_ours(self, found: tuple[dict[str, Any], Version] | None) -> bool:
        return found is not None and found[0].get("token") == self._content["token"]


@contextmanager
def leased(store: Url) -> Iterator[Callable[[], None]]:
    """Hold a store in a bucket against other runs.

    Yields:
        `Lease.check`: raises where another run has taken the store over.

    Raises:
        StoreError: As `Lease`.
    """
    lease = Lease(store)
    try:
        yield lease.check
    finally:
        lease.release()


def _beside(store: Url) -> tuple[Bucket, str]:
    name = f".{store.name}.lock"
    if store.text.count("/") < 3:
        raise StoreError(f"{store}: a store needs a name of its own; give {store}/name.zarr")
    return Bucket(store.parent), name


def _now() -> float:
    return time.clock_gettime(_CLOCK)


def _self() -> dict[str, Any]:
    return {"process": os.getpid(), "host": socket.gethostname(), "machine": _machine()}


def _machine() -> str | None:
    """This boot of this machine, and the realm in which its process numbers hold (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder ran here and is gone."""
    mine = _self()
    if mine["machine"] is None or any(holder.get(name) != mine[name] for name in ("host", "machine")):
        return False
    try:
        if int(holder["process"]) == os.getpid():
            return holder.get("token") not in _HELD
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return False


def _who(holder: dict[str, Any]) -> str:
    return f"process {holder.get('process', '?')} on {holder.get('host', 'another machine')}"
