"""Reading images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ....cache import SpaceClipError, first_line
from .orientation import turn_of
from .raster import DECODING_ERRORS, MAX_PIXELS, opened

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
        return _as_rgb(_upright(picture) if upright else picture, path)


def as_rgb(image: Image.Image | NDArray[Any], name: str = "the image") -> Image.Image:
    """An image in memory as `read_image` reads one from a file, upright.

    Args:
        image: A picture of any mode, or [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] uint8 or uint16, RGB or RGBA.
        name: Of the image, for messages.

    Raises:
        SpaceClipError: It is of another shape or type, or cannot be decoded.
    """
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        is_image = array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4)))
        if not is_image or array.dtype not in (np.uint8, np.uint16):
            raise SpaceClipError(
                f"{name} is {array.dtype.name} {list(array.shape)}: expected uint8 or uint16 of shape [H, W], "
                "[H, W, 3] or [H, W, 4], in the order RGB (floats of 0 to 1 times 255; several images as a list)"
            )
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        eight_bits = array if array.dtype == np.uint8 else (array >> 8).astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(eight_bits))
    try:
        return _as_rgb(_upright(image), name)
    except DECODING_ERRORS as error:
        raise SpaceClipError(f"{name} cannot be decoded ({first_line(error)}): damaged or cut short") from error


def image_header(path: Path, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Size of an image and whether it is to be turned, from its header alone.

    Raises:
        SpaceClipError: The file is missing, empty, too large to be a photograph, or holds no image.
    """
    with opened(path, _IMAGE, max_pixels) as picture:
        return ImageHeader((picture.height, picture.width), turn_of(picture) is not None)


def _upright(picture: Image.Image) -> Image.Image:
    turn = turn_of(picture)
    return picture if turn is None else picture.transpose(turn)


def _as_rgb(picture: Image.Image, path: Path | str) -> Image.Image:
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
