"""Opening image and depth files; whatever cannot be read is refused in one clear line."""

import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ....cache import SpaceClipError
from ...problems import no_file
from ...reading import wait_to_decode

MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 2**63
"""Pillow's own limit, above which it warns of a decompression bomb."""
# A picture above it would be refused all the same, but after a warning on the user's terminal.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

# By default a large picture lies in pieces, each of which the C library may keep when it is freed, in every thread.
Image.core.set_block_size(2**28)

UNREAD_SUFFIXES = (".heic", ".heif", ".avif")
"""Of pictures as phones take them that Pillow reads not at all, or not everywhere."""
CONVERT = (
    "HEIC and AVIF are not read: convert to JPEG (heif-convert IN OUT.jpg; macOS: sips -s format jpeg IN -o OUT.jpg)"
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
)
"""All that Pillow's and numpy's decoders raise on damaged files."""


def allow_pixels(most: int) -> None:
    """Have Pillow decode pictures of so many pixels, where that is more than it does by itself."""
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, most)


@contextmanager
def opened(path: Path, expected: str, max_pixels: int) -> Iterator[Image.Image]:
    """Open a picture, to be decoded in the `with` block; what goes wrong here or there becomes one line.

    Args:
        path: The file.
        expected: What it should be, for the message.
        max_pixels: Larger ones are refused.

    Raises:
        SpaceClipError: It is missing, empty, damaged, too large, or of no known format.
    """
    check_present(path)
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            _check_pixels(path, picture, max_pixels)
            wait_to_decode(picture.width * picture.height)
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = str(error).partition("(")[2].partition(")")[0]  # Pillow names its own limit too, twice the other
        raise _too_large(path, found, max_pixels) from error
    except UnidentifiedImageError as error:
        remedy = CONVERT if _is_heif(path) else "replace or remove it"
        raise SpaceClipError(f"{path} is not a readable {expected}: {remedy}") from error
    except DECODING_ERRORS as error:
        raise damaged(path, error) from error


def _is_heif(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[4:] in {b"ftyp" + brand for brand in _HEIF_BRANDS}


def check_present(path: Path) -> None:
    """Refuse what is no file or holds nothing.

    Raises:
        SpaceClipError: It is missing, a folder, or empty.
    """
    if not path.is_file():
        raise SpaceClipError(f"{path} {no_file(path)}: check the path, or the list that names it")
    if path.stat().st_size == 0:
        raise SpaceClipError(f"{path} is empty (0 bytes): copy or download it again")


def damaged(path: Path, error: Exception) -> SpaceClipError:
    """The refusal of a file that cannot be decoded."""
    if isinstance(error, PermissionError):
        return SpaceClipError(f"{path} cannot be read ({error.strerror}): give yourself permission to read it")
    return SpaceClipError(f"{path} cannot be read ({_line(error)}): damaged or cut short; copy it again")


def _check_pixels(path: Path, picture: Image.Image, most: int) -> None:
    if picture.width * picture.height > most:
        raise _too_large(path, f"{picture.height} x {picture.width} pixels", most)


def _too_large(path: Path, found: str, most: int) -> SpaceClipError:
    return SpaceClipError(
        f"{path} is too large ({found}), expected at most {most:,} pixels: shrink or remove it (extraction "
        "takes what max_pixels, or --max-pixels, allows)"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
