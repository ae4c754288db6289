"""What a source of images and depth must offer to be extracted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...cache import CameraFacts, Counts, Entry

__all__ = ["CameraFacts", "Entry", "Sample", "Source", "camera_facts"]


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

    @property
    def camera(self) -> CameraFacts | None:
        """What is known of the camera; None where nothing is."""
        ...

    def check(self) -> Sequence[str]:
        """Find what can be found wrong before long work: absent files, unreadable headers, sizes that differ.

        Returns:
            What need not be mended but should be known, a line each.

        Raises:
            SpaceClipError: All problems of one kind counted, the first few named.
        """
        ...


def camera_facts(focals: Sequence[float | None], sizes: Sequence[tuple[int, int] | None]) -> CameraFacts | None:
    """What focal lengths in pixels, each of an image of some (height, width), say of a camera; None without any.

    >>> camera_facts([500.0, 250.0, None], [(480, 640), (240, 320), (480, 640)])
    {'focal': [500.0, 500.0, 500.0], 'size': [480, 640], 'images': 2}
    """
    known = [(focal / size[1], size) for focal, size in zip(focals, sizes, strict=True) if focal and size]
    if not known:
        return None
    relative, known_sizes = zip(*known, strict=True)
    (height, width), _ = Counter(known_sizes).most_common(1)[0]
    focal = [round(found * width, 4) for found in np.quantile(relative, (0, 0.5, 1)).tolist()]
    return CameraFacts(focal=focal, size=[height, width], images=len(known))
