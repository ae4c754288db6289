"""The ground truth of a split, at the sizes that protocols score it at."""

import typing
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache import SpaceClipError
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
