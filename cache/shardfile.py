"""Reading single chunks out of Zarr shards, straight from the file into the caller's memory.

A shard of the Zarr 3 `sharding_indexed` codec ends with its index: an (offset, length) pair of uint64 for each inner
chunk, and a CRC-32C. Each of our chunks ends with a CRC-32C of its own. Reading by `pread` costs one copy and no event
loop, which is what lets a training step on a fast device be fed from the store.
"""

import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.blosc import decompress
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from .errors import StoreError

_NEVER_WRITTEN = 2**64 - 1
# The CRC-32C of anything followed by its own little-endian CRC-32C.
_CRC_RESIDUE = 0x48674BC7


class ShardedArray:
    """Chunk-wise reader of one sharded array on a local disk. Safe to use from many threads.

    Args:
        array: The Zarr array, for its metadata.
        path: Its folder.
    """

    def __init__(self, array: zarr.Array[Any], path: Path) -> None:
        if array.shards is None:
            raise StoreError(f"{path}: the array is not sharded; a feature store of this version was expected")
        self.path = path
        self.shape = array.shape
        self.dtype = array.dtype
        self.chunk = array.chunks
        self.grid = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        self._compressed = any(isinstance(codec, BloscCodec) for codec in array.compressors)
        self._index = lru_cache(maxsize=4096)(self._read_index)

    def read_into(self, out: NDArray[Any], row: int, *rest: int) -> None:
        """Read the chunk at (row, *rest, 0, ...) into a contiguous array of the chunk's size.

        Raises:
            StoreError: The chunk is missing, cut short or altered.
        """
        shard, inside = divmod(row, self.grid[0])
        coordinates = (inside, *rest, *[0] * (len(self.grid) - 1 - len(rest)))
        path = object_path(self.path, shard, len(self.shape))
        try:
            offset, length = (int(value) for value in self._index(shard)[coordinates])
            if offset == _NEVER_WRITTEN:
                raise _damaged(path, f"row {row} was never written")
            file = os.open(path, os.O_RDONLY)
            try:
                content = os.pread(file, length, offset)
            finally:
                os.close(file)
            if google_crc32c.value(content) != _CRC_RESIDUE:
                raise _damaged(path, f"row {row} fails its checksum")
            plain = decompress(content[:-4]) if self._compressed else content
            np.copyto(out, np.frombuffer(plain, self.dtype, count=out.size).reshape(out.shape))
        except FileNotFoundError:
            raise _damaged(path, "the file is missing") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise _damaged(path, f"row {row} cannot be read ({error})") from error

    def read_rows(self, start: int, stop: int) -> NDArray[Any]:
        """Whole rows [stop - start, ...], every chunk checked.

        Raises:
            StoreError: A chunk is missing, cut short or altered.
        """
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for row in range(start, stop):
            if self.grid[1] == 1:
                self.read_into(out[row - start], row)
            else:
                for view in range(self.grid[1]):
                    self.read_into(out[row - start, view], row, view)
        return out

    def _read_index(self, shard: int) -> NDArray[np.uint64]:
        path = object_path(self.path, shard, len(self.shape))
        size = math.prod(self.grid) * 16 + 4
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < size:
                raise _damaged(path, "it is cut short")
            file.seek(-size, os.SEEK_END)
            content = file.read(size)
        if google_crc32c.value(content) != _CRC_RESIDUE:
            raise _damaged(path, "its index fails its checksum")
        return np.frombuffer(content[:-4], "<u8").reshape(*self.grid, 2)


def object_path(array: Path, shard: int, dimensions: int) -> Path:
    """The file of a shard of an array, by Zarr's default chunk key encoding."""
    return array.joinpath("c", str(shard), *["0"] * (dimensions - 1))


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(f"{path}: damaged: {what}; run `spaceclip cache repair` on the store, then extract again")
