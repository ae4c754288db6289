"""What a source of images and depth must offer to be extracted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...cache import Counts, Entry

__all__ = ["Entry", "Sample", "Source"]


@dataclass(frozen=True)
class Sample:
    """One decoded sample.

    Attributes:
        id: The entry's id.
        image: A picture of mode RGB, or [H, W, 3] RGB, uint8.
        depth: [H, W] metres, float32, 0 where nothing was measured; None for an image without depth.
        scene: The entry's scene.
    """

    id: str
    image: Image.Image | NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    scene: str | None


class Loader(Protocol):
    """Anything that decodes samples one by one, from several threads at once."""

    def load(self, index: int) -> Sample:
        """Decode one sample.

        Raises:
            SpaceClipError: A file is missing, unreadable, or holds depth that cannot be right.
        """
        ...


class Source(Loader, Protocol):
    """Anything that lists samples cheaply, and decodes them."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The samples in a fixed order."""
        ...

    @property
    def depth_unit(self) -> float | None:
        """Metres of one count of the depth source, the step to which depth is stored; None without depth."""
        ...

    @property
    def depth_counts(self) -> Counts:
        """Type that holds every depth in such counts."""
        ...

    def depth_sizes(self) -> Sequence[tuple[int, int] | None]:
        """Native (height, width) of every sample's depth map, from headers alone; None where there is none."""
        ...

    def check(self) -> Sequence[str]:
        """Find what can be found wrong before long work: absent files, unreadable headers, sizes that differ.

        Returns:
            What need not be mended but should be known, a line each.

        Raises:
            SpaceClipError: All problems of one kind counted, the first few named.
        """
        ...
