"""Stored objects in memory as they are stored: filled row by row, sealed once, and hashed and written as they lie.

Objects are shards of Zarr's `sharding_indexed` codec: the chunks, each with its CRC-32C, then the index, an (offset,
length) pair of uint64 for each chunk, with a CRC-32C of its own.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ..places.place import ALIGNMENT, Content
from .arrays import ArrayLayout
from .shard import BLOSC, CRC, NEVER_WRITTEN, index_bytes, shard_bytes
from .statistics import MOMENTS, row_moments

Allocate = Callable[[int], NDArray[np.uint8]]
"""Gives memory of so many bytes; page-locked, where a GPU is to copy into it."""

Moments = Callable[[NDArray[np.float16]], Sequence[float] | NDArray[np.float64]]
"""Takes the `MOMENTS` of a row."""


def host_memory(size: int) -> NDArray[np.uint8]:
    """Ordinary memory, from which a file can be written without a copy."""
    room = np.zeros(size + ALIGNMENT, np.uint8)
    first = -room.ctypes.data % ALIGNMENT
    return room[first : first + size]


class Sealed(NamedTuple):
    """An object that is ready to be written.

    Attributes:
        content: Its bytes; those of a plain object are its buffer's, valid until that is filled again.
        checksums: CRC-32C of each row's chunk, 8 hexadecimal digits a row.
    """

    content: Content
    checksums: str


def stored_rows(content: Content, layout: ArrayLayout, rows: int) -> NDArray[Any]:
    """The first rows of a plain object [rows, ...], where they lie; its hash has been checked."""
    dtype = np.dtype(layout.dtype)
    step = math.prod(layout.row) * dtype.itemsize + CRC
    return np.ndarray((rows, *layout.row), dtype, content, strides=(step, *np.empty(layout.row, dtype).strides))


class PlainObject:
    """An object of an array that is not compressed. Values put into `rows` lie where they are stored.

    Args:
        layout: Of its array.
        images: Rows of a full shard.
        allocate: Gives its memory.
        moments: Of a float16 row that is put; where an encoder's device takes them, its own, which rounds as that does.

    Attributes:
        buffer: All of the object, [bytes] uint8.
        step: Bytes from one row to the next: a chunk and its checksum.
        rows: [images, ...], a view of it.
        moments: Of float16 rows, [images, 5] float64: see `row_moments`.
    """

    def __init__(
        self, layout: ArrayLayout, images: int, allocate: Allocate = host_memory, moments: Moments = row_moments
    ) -> None:
        self._images, self._take_moments, dtype = images, moments, np.dtype(layout.dtype)
        self.step = math.prod(layout.row) * dtype.itemsize + CRC
        self.buffer = allocate(shard_bytes(layout, images, images))
        self.rows = stored_rows(self.buffer.data, layout, images)
        self.moments = np.zeros((images, len(MOMENTS))) if dtype == np.float16 else None

    def put(self, at: int, row: NDArray[Any]) -> None:
        """Copy a row to its place, and take its moments."""
        self.rows[at] = row
        if self.moments is not None:
            self.moments[at] = self._take_moments(row)

    def seal(self, rows: int) -> Sealed:
        """Checksum the first rows, and close the object behind them."""
        chunk, stop = self.step - CRC, rows * self.step
        ends = np.ndarray((rows,), "<u4", self.buffer, chunk, (self.step,))
        for at in range(rows):
            start = at * self.step
            ends[at] = google_crc32c.value(self.buffer[start : start + chunk])
        index = _index([self.step] * rows, self._images)
        self.buffer[stop : stop + len(index)] = np.frombuffer(index, np.uint8)
        return Sealed(self.buffer[: stop + len(index)].data, ends.tobytes().hex())


class CompressedObject:
    """An object of an array whose chunks are compressed, each when it is put.

    Args:
        images: Rows of a full shard.
    """

    def __init__(self, images: int) -> None:
        self._chunks: list[bytes] = [b""] * images

    def put(self, at: int, row: NDArray[Any]) -> None:
        """Compress a row. Rows may be put from many threads."""
        chunk = bytes(BLOSC.encode(np.ascontiguousarray(row).reshape(-1)))
        self._chunks[at] = chunk + google_crc32c.value(chunk).to_bytes(CRC, "little")

    def seal(self, rows: int) -> Sealed:
        """The object of the first rows, all of which were put."""
        chunks = self._chunks[:rows]
        index = _index([len(chunk) for chunk in chunks], len(self._chunks))
        return Sealed(b"".join([*chunks, index]), "".join(chunk[-CRC:].hex() for chunk in chunks))


def _index(lengths: Sequence[int], images: int) -> bytes:
    """The index of chunks that follow one another, sealed."""
    index = np.full((images, 2), NEVER_WRITTEN, "<u8")
    ends = np.cumsum(lengths, dtype="<u8")
    index[: len(lengths), 1] = lengths
    index[: len(lengths), 0] = ends - index[: len(lengths), 1]
    pairs = index.tobytes()
    sealed = pairs + google_crc32c.value(pairs).to_bytes(CRC, "little")
    assert len(sealed) == index_bytes(images)
    return sealed
