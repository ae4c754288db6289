"""From a decoded sample to what the backbone sees and the decoder learns from."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INPUT_SIZE = 224
_PIXELS = 2**20

_Depth = TypeVar("_Depth", bound=np.generic)


def prepare_image(
    image: Image.Image | NDArray[np.uint8], target_size: tuple[int, int] | None, input_size: int = INPUT_SIZE
) -> NDArray[np.uint8]:
    """Bring an image to the target size, then to the backbone's: bicubic, the whole frame, no crop (as the paper).

    Args:
        image: A picture of mode RGB, or [H, W, 3] RGB, uint8.
        target_size: (height, width), or None to skip the first step.
        input_size: Height and width of the result.

    Returns:
        [input_size, input_size, 3] RGB, uint8, not yet normalised.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    for height, width in filter(None, (target_size, (input_size, input_size))):
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def some_rows(size: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a map [H, W], a megapixel at a time: whole copies in float64 would be most of what large ones take."""
    height, width = size
    step = max(1, _PIXELS // max(width, 1))
    return (slice(start, start + step) for start in range(0, height, step))


def prepare_depth(depth: NDArray[_Depth], target_size: tuple[int, int] | None) -> NDArray[_Depth]:
    """Bring depth to the target size by nearest neighbour, so that no depth is invented between two surfaces.

    Row i of the result is row floor(i * H / height), as with torch's and OpenCV's nearest; columns alike.

    Args:
        depth: [H, W] metres or counts, 0 where nothing was measured.
        target_size: (height, width), or None to keep the size.

    Returns:
        [height, width], of the same kind.
    """
    if target_size is None or depth.shape == target_size:
        return depth
    rows, columns = (np.arange(new) * old // new for new, old in zip(target_size, depth.shape, strict=True))
    return depth[np.ix_(rows, columns)]
