"""A read-through copy: what is read of a store far away is kept in a folder, whole objects at a time."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ..errors import DamagedError, StoreError
from .folder import Folder
from .place import Content, Place, Stored, fill

if TYPE_CHECKING:
    from zarr.abc.store import Store


class LocalCopy(Place):
    """A store for reading, of which each object is fetched once, checked against the ledger, and kept.

    An object is kept under its hash: a store that has grown or was made anew finds what has stayed the same, and
    nothing else. What was damaged or deleted in the folder is fetched again.

    Args:
        far: The store.
        folder: Where its objects are kept; stores and runs may share it, also at once.
        expected: What the ledger says of each object, by key.
        is_sound: Tells whether a part that was kept, in one piece or more, is as it was written.
    """

    def __init__(self, far: Place, folder: Path, expected: Mapping[str, Stored], is_sound: Callable[..., bool]) -> None:
        self.location = far.location
        self._far, self._near = far, Folder(folder)
        self._expected, self._is_sound = expected, is_sound
        self._fetching: defaultdict[str, Lock] = defaultdict(Lock)

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalCopy, (self._far, self._near.path, self._expected, self._is_sound)

    @override
    def read_into(self, key: str, start: int, *buffers: memoryview) -> int:
        if (expected := self._expected.get(key)) is None:
            return self._far.read_into(key, start, *buffers)
        name = f"{expected.blake3[:2]}/{expected.blake3}"
        if read := self._kept(name, start, buffers):
            return read
        with self._fetching[key]:
            # Another thread may have fetched it meanwhile.
            if read := self._kept(name, start, buffers):
                return read
            return fill(buffers, memoryview(self._fetched(key, expected, name))[start:])

    @override
    def read_end(self, key: str, length: int) -> bytes:
        if (expected := self._expected.get(key)) is None:
            return self._far.read_end(key, length)
        end = memoryview(bytearray(min(length, expected.bytes)))
        self.read_into(key, expected.bytes - len(end), end)
        return bytes(end)

    @override
    def read(self, key: str) -> bytes:
        return self._far.read(key)

    @override
    def read_all(self, keys: Sequence[str]) -> Generator[bytes | OSError]:
        return self._far.read_all(keys)

    @override
    def stored(self, key: str) -> Stored:
        return self._far.stored(key)

    @override
    def names(self, folder: str = "") -> list[str]:
        return self._far.names(folder)

    @override
    def walk(self, folder: str = "") -> Iterator[tuple[str, int]]:
        return self._far.walk(folder)

    @override
    def zarr(self) -> "Store":
        return self._far.zarr()

    @override
    def free_bytes(self) -> int | None:
        return self._near.free_bytes()

    @override
    def write(self, key: str, content: Content) -> None:
        raise PermissionError(f"{self.location}/{key} was opened for reading")

    @override
    def delete(self, key: str) -> None:
        raise PermissionError(f"{self.location}/{key} was opened for reading")

    @override
    def take(self, key: str, source: object, source_key: str) -> bool:
        return False

    def _kept(self, name: str, start: int, buffers: Sequence[memoryview]) -> int:
        """Read what the folder holds, if it is sound: chunks and indices, which all end with their CRC-32C; else 0."""
        try:
            read = self._near.read_into(name, start, *buffers)
        except OSError:
            return 0
        return read if read == sum(map(len, buffers)) and self._is_sound(*buffers) else 0

    def _fetched(self, key: str, expected: Stored, name: str) -> bytes:
        """An object from far away, which the folder has from then on."""
        content = self._far.read(key)
        if Stored.of(content) != expected:
            raise DamagedError.of_object(f"{self.location}/{key}", "it is not what the ledger says")
        try:
            self._near.write(name, content)
        except OSError as error:
            raise StoreError(
                f"{self._near.path}: the local copy cannot be kept ({error.strerror or error}); make room, give "
                "another folder, or read without one"
            ) from error
        return content
