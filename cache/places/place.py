"""Where the objects of a store are read and written by key: a folder or a bucket. Each is there whole or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from .location import Location

if TYPE_CHECKING:
    from zarr.abc.store import Store

Content = bytes | bytearray | memoryview

ALIGNMENT = 4096
"""Content whose memory begins at a multiple of it is written to disk as it lies, without a copy by the processor."""


class Stored(NamedTuple):
    """Size and BLAKE3 hash of one stored object.

    The hash must not be a CRC-32C: each chunk ends with its own, which makes that of the whole blind to its content.
    """

    bytes: int
    blake3: str

    @classmethod
    def of(cls, content: Content) -> "Stored":
        """Of an object's content."""
        return cls(len(content), blake3(content).hexdigest())


class Opened:
    """An object of a place, for reading parts of it.

    Attributes:
        is_kept: Whether what was read once is read again as it was: the same file of this machine, whatever becomes of
            its name. What comes from far is checked each time.
    """

    is_kept = False

    def __init__(self, place: "Place", key: str) -> None:
        self._place, self._key = place, key

    def read_into(self, start: int, *buffers: memoryview) -> int:
        """See `Place.read_into`."""
        return self._place.read_into(self._key, start, *buffers)

    def will_read(self, start: int, size: int) -> None:
        """Say that a part will be read soon, to a system that can fetch it meanwhile."""


class Place(ABC):
    """A folder, or a prefix of a bucket. Keys are relative to it, with slashes. Safe to use from many threads.

    All methods raise `OSError` where reading or writing fails, `FileNotFoundError` for an object that is not there.
    """

    location: Location

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The whole of an object."""

    @abstractmethod
    def read_into(self, key: str, start: int, *buffers: memoryview) -> int:
        """Read a part of an object into writable bytes, one piece after the other.

        Returns:
            Bytes read: fewer than there is room for where the object is shorter.
        """

    def opened(self, key: str) -> "Opened":
        """An object that will be read in parts, many times."""
        return Opened(self, key)

    @abstractmethod
    def read_end(self, key: str, length: int) -> bytes:
        """The last bytes of an object; all of a shorter one."""

    @abstractmethod
    def read_all(self, keys: Sequence[str]) -> Generator[bytes | OSError]:
        """Many small objects in turn, as fast as the place gives them; in place of one, why it cannot be read."""

    @abstractmethod
    def write(self, key: str, content: Content) -> None:
        """Write or replace an object: after a crash there is the old one or the new one, never a part."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Sorted names of what is directly below a folder; none where it is not there."""

    @abstractmethod
    def walk(self, folder: str = "") -> Iterator[tuple[str, int]]:
        """Key and size of every object below a folder."""

    @abstractmethod
    def stored(self, key: str) -> Stored:
        """Size and hash of an object, without holding the whole of it where that can be helped."""

    @abstractmethod
    def take(self, key: str, source: Location, source_key: str) -> bool:
        """Have an object of another place of this kind under a key, its bytes not passing through this process.

        Returns:
            False where the other place is of no such kind; then, and where it fails, nothing was changed.
        """

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Space that is left; None where there is no end to it."""

    @abstractmethod
    def zarr(self) -> "Store":
        """The place as Zarr's own kind of store."""

    def exists(self, key: str) -> bool:
        """Whether an object is there."""
        try:
            self.read_end(key, 1)
        except FileNotFoundError:
            return False
        return True


def fill(buffers: Sequence[memoryview], content: Content) -> int:
    """Copy content into writable bytes, one piece after the other, as far as either goes; the number copied."""
    rest = memoryview(content)
    for buffer in buffers:
        size = min(len(buffer), len(rest))
        buffer[:size], rest = rest[:size], rest[size:]
    return len(content) - len(rest)
