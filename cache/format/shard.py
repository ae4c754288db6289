"""Stored objects: shards of Zarr's `sharding_indexed` codec, made in memory and read chunk by chunk.

A shard ends with its index, an (offset, length) pair of uint64 for each inner chunk, and a CRC-32C. Each of our chunks
ends with a CRC-32C of its own. Reading a range into the caller's memory costs one copy and no event loop, which is what
lets a training step on a fast device be fed from the store; an object made in memory can be hashed and stored by one
call, in a folder or a bucket, and many at once.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Blosc
from numcodecs.blosc import decompress
from numpy.typing import NDArray

from ..errors import DamagedError, StoreError, UnreadableError
from ..places.open_files import OPEN_FILES
from ..places.place import Opened, Place
from .arrays import ArrayLayout

BLOSC = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)

NEVER_WRITTEN = 2**64 - 1
# The CRC-32C of anything followed by its own little-endian CRC-32C, as of nothing.
_CRC_RESIDUE = google_crc32c.value(bytes(4))
_PAIR, CRC = 16, 4


def shard_bytes(layout: ArrayLayout, rows: int, images: int) -> int:
    """Size of the object of some rows, but for those of an array that is compressed."""
    chunk = math.prod(layout.row) * np.dtype(layout.dtype).itemsize
    return rows * (chunk + CRC) + index_bytes(images)


def index_bytes(images: int) -> int:
    """Size of an object's index, its checksum included."""
    return images * _PAIR + CRC


def _index_of(end: bytes, images: int) -> NDArray[np.uint64]:
    """Offset and length of each chunk [images, 2], from the last bytes of an object."""
    return np.frombuffer(end, "<u8", 2 * images).reshape(images, 2)


def is_sound(*pieces: bytes | memoryview) -> bool:
    """Whether a chunk or an index, which both end with their CRC-32C, is as it was written."""
    checksum = 0
    for piece in pieces:
        checksum = google_crc32c.extend(checksum, np.frombuffer(piece, np.uint8))
    return checksum == _CRC_RESIDUE


@dataclass
class _Object:
    """A stored object that is being read.

    Attributes:
        key: Below the place.
        file: The object, opened: the same one whatever its name comes to mean.
        checksums: The last 4 bytes of each row's chunk, as the ledger has them.
        images: Samples in a full shard.
        checked: Of each row, whether its chunk was found sound since the file was opened.
        index: Of an array that is compressed, once it was read.
    """

    key: str
    file: Opened
    checksums: bytes
    images: int
    checked: bytearray = field(init=False)
    index: NDArray[np.uint64] | None = None

    def __post_init__(self) -> None:
        self.checked = bytearray(self.images)


class ShardedArray:
    """Chunk-wise reader of one array. Safe to use from many threads.

    Files of this machine stay open, and a chunk of an array that is not compressed is checked when it is read first.

    Args:
        place: The store.
        name: The array's.
        layout: Its layout.
        images: Samples in a shard.
        checksums: By shard and view, the last 4 bytes of each row's chunk, as the ledger has them. A chunk that was
            written for another row, view, array or store is whole and has others.

    Attributes:
        chunk_bytes: Of a sample's chunk, of one view, in memory.
    """

    def __init__(
        self, place: Place, name: str, layout: ArrayLayout, images: int, checksums: Callable[[int, int], bytes]
    ) -> None:
        self.name, self.shape, self.dtype = name, layout.shape, np.dtype(layout.dtype)
        self._place, self._layout, self._images, self._checksums = place, layout, images, checksums
        self.chunk_bytes = math.prod(layout.row) * self.dtype.itemsize
        self._step = self.chunk_bytes + CRC
        self._owner, self._held = OPEN_FILES.owner(self), OPEN_FILES.held

    def read_into(self, out: NDArray[Any], row: int, view: int = 0, *, anew: bool = False) -> None:
        """Read a sample's chunk, of one view where views divide the array.

        Args:
            out: Contiguous, of the array's type and the chunk's size, and of one thread; worthless where reading fails.
            row: Of the store.
            view: Index of the view.
            anew: Check it again, if it has been read before.

        Raises:
            UnreadableError: The place gives no answer.
            StoreError: The chunk is missing, cut short or altered.
        """
        plain = np.frombuffer(out, np.uint8)
        if out.dtype != self.dtype or plain.size != self.chunk_bytes:
            raise TypeError(f"{self.name}: {self._layout.row} {self.dtype} are read, not {out.shape} {out.dtype}")
        self.read_bytes(plain.data, row, view, anew=anew)

    def read_bytes(self, out: memoryview, row: int, view: int = 0, *, anew: bool = False) -> None:
        """Likewise into `chunk_bytes` writable bytes, in the few steps that leave the disk or the memory the limit."""
        shard, inside = divmod(row, self._images)
        name = self._owner, shard, view
        try:
            stored = self._held.get(name)
            # Most chunks are read again and again: nothing else is asked of them.
            if stored is None or anew or not stored.checked[inside]:
                self._read_anew(stored or OPEN_FILES.open(name, partial(self._opened, shard, view)), row, out)
            elif stored.file.read_into(inside * self._step, out) != self.chunk_bytes:
                raise self._damaged(stored.key, "it is cut short")
        except DamagedError:
            OPEN_FILES.let_go(name)  # it may be mended by the next read
            raise
        except FileNotFoundError:
            raise self._damaged(self._layout.key(self.name, shard, view), "the file is missing") from None
        except OSError as error:
            key = self._layout.key(self.name, shard, view)
            raise UnreadableError.of(f"{self._place.location}/{key}", error) from error

    def will_read(self, row: int, view: int = 0) -> None:
        """Have the system fetch a chunk meanwhile, where it can; what fails is for reading to say."""
        shard, inside = divmod(row, self._images)
        name = self._owner, shard, view
        if not self._layout.compressed:
            with suppress(OSError, StoreError):
                stored = self._held.get(name) or OPEN_FILES.open(name, partial(self._opened, shard, view))
                stored.file.will_read(inside * self._step, self._step)

    def read_rows(self, start: int, stop: int, view: int | None = None) -> NDArray[Any]:
        """Whole rows [stop - start, ...], or one view of them [stop - start, ...], every chunk checked.

        Raises:
            UnreadableError: The place gives no answer.
            StoreError: A chunk is missing, cut short or altered.
        """
        views: Sequence[int] = range(self.shape[1]) if self._layout.by_view else [0]
        if view is not None:
            views = [view]
        out = np.empty((stop - start, len(views), *self._layout.row), self.dtype)
        for at in range(stop - start):
            for place, number in enumerate(views):
                self.read_into(out[at, place], start + at, number, anew=True)
        return out if self._layout.by_view and view is None else out[:, 0]

    def _opened(self, shard: int, view: int) -> _Object:
        checksums, key = self._checksums(shard, view), self._layout.key(self.name, shard, view)
        return _Object(key, self._place.opened(key), checksums, self._images)

    def _read_anew(self, stored: _Object, row: int, out: memoryview) -> None:
        """Read a chunk and check it."""
        inside = row % self._images
        if not self._layout.compressed:
            # Chunks of one size need no index; a row that was never written fails its checksum.
            self._read_chunk(stored, row, inside * self._step, out)
            stored.checked[inside] = stored.file.is_kept
            return
        offset, length = self._index(stored)[inside].tolist()
        if offset == NEVER_WRITTEN:
            raise self._damaged(stored.key, f"row {row} was never written")
        try:
            chunk = np.empty(length - CRC, np.uint8)
            self._read_chunk(stored, row, offset, chunk.data)
            # Blosc's header says what comes of it.
            if int.from_bytes(chunk[4:8].tobytes(), "little") != len(out):
                raise self._damaged(stored.key, f"row {row} is of another size")
            decompress(chunk, out)
        except (ValueError, RuntimeError) as error:
            raise self._damaged(stored.key, f"row {row} cannot be read ({error})") from error

    def _read_chunk(self, stored: _Object, row: int, start: int, chunk: memoryview) -> None:
        """Read a chunk that is followed by its checksum, and refuse another one."""
        checksum, inside = memoryview(bytearray(CRC)), row % self._images
        read = stored.file.read_into(start, chunk, checksum)
        if read < len(chunk) + CRC or not is_sound(chunk, checksum):
            raise self._damaged(stored.key, f"row {row} fails its checksum")
        if checksum != stored.checksums[inside * CRC : (inside + 1) * CRC]:
            raise self._damaged(stored.key, f"row {row} is whole, but is not the one written here")

    def _index(self, stored: _Object) -> NDArray[np.uint64]:
        if stored.index is None:
            size = index_bytes(self._images)
            content = self._place.read_end(stored.key, size)
            if len(content) < size:
                raise self._damaged(stored.key, "it is cut short")
            if not is_sound(content):
                raise self._damaged(stored.key, "its index fails its checksum")
            stored.index = _index_of(content, self._images)
        return stored.index

    def _damaged(self, key: str, what: str) -> DamagedError:
        return DamagedError.of_object(f"{self._place.location}/{key}", what)
