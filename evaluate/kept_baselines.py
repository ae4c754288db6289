"""Predictions without an image, kept beside the features that they were made of: no evaluation makes them anew."""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cache import Features, write_atomically
from . import baselines

_DIGEST = hashlib.sha256().digest_size


class KeptDepths:
    """The file that keeps what `image_free_depths` makes of a store within a range of depth.

    Args:
        folder: Where the file is.
        cache: The store.
        depths: The range in metres.
    """

    def __init__(self, folder: Path, cache: Features, depths: tuple[float, float]) -> None:
        low, high = depths
        self._file = folder / f"baselines-{cache.fingerprint[:12]}-{low:g}-{high:g}m.kept"
        self._made_of = json.dumps([cache.digest, depths]).encode() + Path(baselines.__file__).read_bytes()

    def read(self) -> dict[str, NDArray[np.float32]] | None:
        """What is kept; None where there is nothing, or it was damaged, or made of other content or by other code."""
        with suppress(OSError):
            data = self._file.read_bytes()
            if data[:_DIGEST] == self._digest(data[_DIGEST:]):
                with np.load(io.BytesIO(data[_DIGEST:])) as kept:
                    return {name: kept[name] for name in kept.files}
        return None

    def write(self, found: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep what was made. Where nothing can be written, the next evaluation takes longer, and no more is lost."""
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **found)
        with suppress(OSError):
            write_atomically(self._file, self._digest(content.getvalue()) + content.getvalue())

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self._made_of + content).digest()
