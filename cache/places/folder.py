"""A folder of this machine, or of a file system that many machines share."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3
from typing_extensions import override

from .location import Location, Url
from .place import ALIGNMENT, Content, Opened, Place, Stored

if TYPE_CHECKING:
    from zarr.abc.store import Store

# Larger ones are read no faster, and leave the processor's cache before they are hashed.
_PIECE = 2**18

_LEAST_DIRECT = 2**20
"""Bytes; what is smaller is soon read again, and costs little."""

_BEGUN = re.compile(r"\..+\.[0-9a-f]{12}")


class Folder(Place):
    """A folder of this machine, there or yet to be made."""

    def __init__(self, path: Path) -> None:
        self.location = self.path = path

    @override
    def read(self, key: str) -> bytes:
        with open(f"{self.path}/{key}", "rb", buffering=0) as file:  # noqa: PTH123 - 10,000 Paths cost 0.4 s
            return file.read()

    @override
    def read_into(self, key: str, start: int, *buffers: memoryview) -> int:
        return self.opened(key).read_into(start, *buffers)

    @override
    def opened(self, key: str) -> "OpenFile":
        return OpenFile(f"{self.path}/{key}")

    @override
    def read_end(self, key: str, length: int) -> bytes:
        with open(f"{self.path}/{key}", "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(-min(length, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read()

    @override
    def read_all(self, keys: Sequence[str]) -> Generator[bytes | OSError]:
        for key in keys:
            try:
                yield self.read(key)
            except OSError as error:
                yield error

    @override
    def write(self, key: str, content: Content) -> None:
        write_atomically(self.path / key, content)

    @override
    def delete(self, key: str) -> None:
        (self.path / key).unlink(missing_ok=True)

    @override
    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(os.listdir(self.path / folder))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []

    @override
    def walk(self, folder: str = "") -> Iterator[tuple[str, int]]:
        for place, _, names in os.walk(self.path / folder):
            for name in names:
                file = Path(place, name)
                # One that a run is writing may get its real name just now.
                with suppress(FileNotFoundError):
                    yield file.relative_to(self.path).as_posix(), file.lstat().st_size

    @override
    def stored(self, key: str) -> Stored:
        # Not mapped: a bad sector, or a file cut short meanwhile, would kill the process instead of raising.
        size, digest, piece = 0, blake3(), memoryview(bytearray(_PIECE))
        with open(f"{self.path}/{key}", "rb", buffering=0) as file:  # noqa: PTH123
            while length := file.readinto(piece):
                size += length
                digest.update(piece[:length])
        return Stored(size, digest.hexdigest())

    @override
    def take(self, key: str, source: Location, source_key: str) -> bool:
        """A hard link: no byte is copied."""
        if isinstance(source, Url):
            return False
        file = self.path / key
        make_folder(file.parent)
        begun = file.with_name(begun_name(file.name))
        os.link(source / source_key, begun)
        try:
            begun.replace(file)
            _sync(file.parent)
        finally:
            # It stays where the file was this very link before.
            begun.unlink(missing_ok=True)
        return True

    @override
    def free_bytes(self) -> int:
        present = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        return shutil.disk_usage(present).free

    @override
    def zarr(self) -> "Store":
        from zarr.storage import LocalStore

        return LocalStore(self.path)


class OpenFile(Opened):
    """A file that stays open while anybody holds this."""

    is_kept = True

    def __init__(self, path: str) -> None:
        self._file = -1  # for `__del__`, where opening fails
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    @override
    def read_into(self, start: int, *buffers: memoryview) -> int:
        return os.preadv(self._file, buffers, start)

    @override
    def will_read(self, start: int, size: int) -> None:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, start, size, os.POSIX_FADV_WILLNEED)


def write_atomically(path: Path, content: Content) -> None:
    """Write a file so that it is there whole or not at all, also after the machine goes down."""
    make_folder(path.parent)
    begun = path.with_name(begun_name(path.name))
    try:
        written = _write_direct(begun, content)
        with begun.open("ab") as file:
            file.write(memoryview(content)[written:])
            file.flush()
            os.fsync(file.fileno())
        begun.replace(path)
        _sync(path.parent)
    except OSError as error:
        # A disk that is full needs the room.
        begun.unlink(missing_ok=True)
        error.filename = str(path)
        raise


def _write_direct(path: Path, content: Content) -> int:
    """Begin a file with what the disk can fetch from memory itself: a tenth of the processor's time, and more a second.

    The page cache holds nothing of it then.

    Returns:
        Bytes written; 0 where the memory, the system or the file system does not allow it.
    """
    whole, written = len(content) & -ALIGNMENT, 0
    aligned = whole >= _LEAST_DIRECT and np.frombuffer(content, np.uint8).ctypes.data % ALIGNMENT == 0
    if not aligned or not hasattr(os, "O_DIRECT"):
        return 0
    try:
        with _open_direct(path) as file:
            while written < whole:
                written += file.write(memoryview(content)[written:whole])
    except OSError:
        # Each file system has its own way to say that it does not know this; a disk that is full says so again.
        pass
    return written


def _open_direct(path: Path) -> FileIO:
    return FileIO(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_DIRECT, 0o666))


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that they are there after the machine goes down."""
    missing = list(takewhile(lambda above: not above.is_dir(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _sync(made.parent)


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk; a file's own sync is of its content."""
    if os.name == "nt":  # knows no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems sync files alone.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def is_begun(name: str) -> bool:
    """Whether a file's name is one that it has only until it is whole: left by a killed run, or being written."""
    return _BEGUN.fullmatch(name) is not None


def begun_name(name: str) -> str:
    """What to call a file of this name until it is whole: unlike any other's, also on another machine."""
    return f".{name}.{secrets.token_hex(6)}"
