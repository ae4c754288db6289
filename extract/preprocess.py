"""From a decoded sample to what the backbone sees and the decoder learns from."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, PositiveInt

INPUT_SIZE = 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_T = TypeVar("_T", bound=np.generic)


class PreprocessSettings(BaseModel):
    """Sizes on the way to the backbone.

    Attributes:
        target_size: The data set's working (height, width), to which image and depth are brought first (KITTI
            352 x 704, NYU 480 x 640); None keeps each at its own.
        input_size: Height and width of the backbone's input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_size: tuple[PositiveInt, PositiveInt] | None = None
    input_size: PositiveInt = INPUT_SIZE


def prepare_image(
    image: NDArray[np.uint8], target_size: tuple[int, int] | None, input_size: int = INPUT_SIZE
) -> NDArray[np.uint8]:
    """Bring an image to the target size, then to the backbone's: bicubic, the whole frame, no crop (as the paper).

    Args:
        image: [H, W, 3] RGB, uint8.
        target_size: (height, width), or None to skip the first step.
        input_size: Height and width of the result.

    Returns:
        [3, input_size, input_size] RGB, uint8, not yet normalised.
    """
    picture = Image.fromarray(image)
    for height, width in filter(None, (target_size, (input_size, input_size))):
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def prepare_depth(depth: NDArray[np.float32], target_size: tuple[int, int] | None) -> NDArray[np.float32]:
    """Bring depth to the target size by nearest neighbour, so that no depth is invented between two surfaces.

    Row i of the result is row floor(i * H / height), as with torch's and OpenCV's nearest; columns alike.

    Args:
        depth: [H, W] metres, 0 where nothing was measured.
        target_size: (height, width), or None to keep the size.

    Returns:
        [height, width] metres.
    """
    if target_size is None or depth.shape == target_size:
        return depth
    rows, columns = (np.arange(new) * old // new for new, old in zip(target_size, depth.shape, strict=True))
    return depth[np.ix_(rows, columns)]


def flip(array: NDArray[_T]) -> NDArray[_T]:
    """Mirror left and right: [..., W], so depth [H, W] and prepared images [3, H, W]."""
    return np.ascontiguousarray(array[..., ::-1])
