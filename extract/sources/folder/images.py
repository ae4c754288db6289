"""Reading images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ....cache import SpaceClipError
from .orientation import turn_of
from .raster import MAX_PIXELS, opened

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
_IMAGE = f"image ({' '.join(IMAGE_SUFFIXES)})"


@dataclass(frozen=True)
class ImageHeader:
    """What an image says of itself before it is decoded.

    Attributes:
        size: (height, width) in pixels, as stored.
        turned: Whether its EXIF data asks for a turn.
    """

    size: tuple[int, int]
    turned: bool


def read_image(path: Path, *, upright: bool = False, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image as 8-bit RGB.

    16-bit values keep their upper byte, grey is repeated, transparency is dropped.

    Args:
        path: The image.
        upright: Turn it as its EXIF data asks. Depth maps are aligned to the raster as it is stored.
        max_pixels: Refuse larger ones.

    Returns:
        A picture of mode RGB, decoded.

    Raises:
        SpaceClipError: The file is missing, empty, damaged, too large to be a photograph, or holds no image.
    """
    with opened(path, _IMAGE, max_pixels) as picture:
        turn = turn_of(picture) if upright else None
        return _as_rgb(picture if turn is None else picture.transpose(turn), path)


def image_header(path: Path, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Size of an image and whether it is to be turned, from its header alone.

    Raises:
        SpaceClipError: The file is missing, empty, too large to be a photograph, or holds no image.
    """
    with opened(path, _IMAGE, max_pixels) as picture:
        return ImageHeader((picture.height, picture.width), turn_of(picture) is not None)


def _as_rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode in {"I", "I;16", "I;16B"}:  # Pillow's own conversion clips these to 255
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            raise SpaceClipError(
                f"{path} holds {grey.min()} to {grey.max()}: expected an image of 8 or 16 bits a channel"
            )
        picture = Image.fromarray((grey >> 8).astype(np.uint8))
    if picture.mode == "F":
        raise SpaceClipError(f"{path} holds floats: expected an image of 8 or 16 bits a channel; is it a depth map?")
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode == "RGB":
        picture.load()
        return picture
    return picture.convert("RGB")
