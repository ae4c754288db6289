"""The ground truth of a split, at the sizes that protocols score it at."""

import hashlib
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache import Entry, SpaceClipError
from .protocol import Size

Truths = Callable[[int], dict[Size | None, NDArray[np.float32]]]


class GroundTruth(typing.Protocol):
    """What scoring asks of a split; a `FeatureCache` with depth is one."""

    about: dict[str, Any]

    def __len__(self) -> int: ...

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples."""
        ...

    @property
    def scenes(self) -> list[str | None]:
        """Scenes of the samples."""
        ...

    @property
    def quarantined(self) -> dict[int, str]:
        """Rows that could not be used, with the reason; they are not scored."""
        ...

    @property
    def depth_size(self) -> Size:
        """(height, width) of the training targets."""
        ...

    def ground_truth(self, index: int) -> NDArray[np.float32]:
        """[H, W] metres at its native size, 0 where nothing was measured."""
        ...

    def depth(self, index: int) -> NDArray[np.float32]:
        """Likewise, brought to the size of the training targets."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """A picture to show beside the maps: [h, w, 3] RGB."""
        ...


def samples_digest(split: GroundTruth) -> str:
    """SHA-256 of the ids of a split's samples, a line each."""
    return hashlib.sha256("\n".join(split.sample_ids).encode(errors="surrogateescape")).hexdigest()


class _Sample(typing.Protocol):
    @property
    def image(self) -> Any: ...

    @property
    def depth(self) -> NDArray[np.float32] | None: ...


class _Source(typing.Protocol):
    @property
    def entries(self) -> Sequence[Entry]: ...

    def load(self, index: int) -> _Sample: ...


class SourceTruth:
    """The ground truth of a data set, read from its own files.

    Args:
        source: Decodes its samples.
        about: What a store of it would say of the data set.
        depth_size: (height, width) of the training targets; None where the experiment names none.
        prepare_depth: Brings a depth map to that size, as extraction does.
    """

    def __init__(
        self,
        source: _Source,
        about: dict[str, Any],
        depth_size: Size | None,
        prepare_depth: Callable[[NDArray[np.float32], Size | None], NDArray[np.float32]],
    ) -> None:
        self.about = about
        self._source, self._size, self._prepare = source, depth_size, prepare_depth

    def __len__(self) -> int:
        return len(self._source.entries)

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples."""
        return [entry.id for entry in self._source.entries]

    @property
    def scenes(self) -> list[str | None]:
        """Scenes of the samples."""
        return [entry.scene for entry in self._source.entries]

    @property
    def quarantined(self) -> dict[int, str]:
        """None: a file that cannot be read stops the scoring."""
        return {}

    @property
    def depth_size(self) -> Size:
        """(height, width) of the training targets; (0, 0) where the experiment names none."""
        return self._size or (0, 0)

    def ground_truth(self, index: int) -> NDArray[np.float32]:
        """[H, W] metres, 0 where nothing was measured or there is no ground truth at all."""
        sample = self._source.load(index)
        return np.zeros(np.asarray(sample.image).shape[:2], np.float32) if sample.depth is None else sample.depth

    def depth(self, index: int) -> NDArray[np.float32]:
        """Likewise, brought to `depth_size`."""
        return self._prepare(self.ground_truth(index), self._size)

    def image(self, index: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB."""
        return np.asarray(self._source.load(index).image)


def read_truths(split: GroundTruth, sizes: Iterable[Size | None]) -> Truths:
    """A function from a row to its ground truth, at its native size (None) and at that of the training targets.

    Raises:
        SpaceClipError: A size asked for is not that of the training targets.
    """
    sizes = set(sizes)
    for size in sizes:
        if size not in (None, split.depth_size):
            raise SpaceClipError(
                f"the protocol scores a truth of {size[0]} x {size[1]}, this one is kept at its native size and at "
                f"{split.depth_size[0]} x {split.depth_size[1]}: extract with target_size {list(size)}"
            )

    def read(row: int) -> dict[Size | None, NDArray[np.float32]]:
        return {size: split.ground_truth(row) if size is None else split.depth(row) for size in sizes}

    return read
