"""What file headers tell about a whole data set in seconds, before anything is decoded."""

from collections.abc import Callable, Container, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ....cache import SpaceClipError
from ...problems import counted, first_few
from ...reading import HangingError, read_each
from .depth_maps import DepthHeader, check_scale, depth_header
from .images import ImageHeader, image_header

_THREADS = 8
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_all(
    items: Sequence[_Item], read: Callable[[_Item], _Result], noun: str, name: Callable[[_Item], str] = str
) -> list[_Result]:
    """Read each item, several at a time, and keep going past bad ones to count them.

    Raises:
        SpaceClipError: Some cannot be read: all counted, the first few named, with the first one's reason. Or reading
            one does not end, which ends it all.
    """
    outcomes: list[_Result | SpaceClipError] = []
    with closing(read_each(items, read, name, _THREADS)) as found:
        for outcome in found:
            if isinstance(outcome, HangingError):
                raise outcome
            outcomes.append(outcome)
    errors = [outcome for outcome in outcomes if isinstance(outcome, SpaceClipError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        bad = [name(item) for item, outcome in zip(items, outcomes, strict=True) if isinstance(outcome, SpaceClipError)]
        raise SpaceClipError(
            f"{counted(len(errors), noun)} of {len(items)} cannot be used: {first_few(bad)}; the first: {errors[0]}"
        )
    return [outcome for outcome in outcomes if not isinstance(outcome, SpaceClipError)]


def read_image_headers(images: Sequence[Path], max_pixels: int) -> list[ImageHeader]:
    """Headers of all images, in order.

    Raises:
        SpaceClipError: Some are missing, empty, damaged, too large, or no images.
    """
    return read_all(images, lambda path: image_header(path, max_pixels), "image")


def read_depth_headers(depths: Sequence[Path | None], scale: float | None, max_pixels: int) -> list[DepthHeader | None]:
    """Headers of all depth files, in order; None where a sample has none.

    Raises:
        SpaceClipError: Some are missing, empty, damaged, no depth maps, or integers while there is no scale.
    """

    def header(path: Path | None) -> DepthHeader | None:
        if path is None:
            return None
        found = depth_header(path, max_pixels)
        check_scale(path, found.dtype, scale)
        return found

    return read_all(depths, header, "depth file")


def aligned(*, turned: bool) -> str:
    """What is expected of depth whose size is not its image's, and of an image that has an EXIF turn."""
    expected = "expected depth aligned to its image, pixel by pixel"
    remedy = ", as stored: turn the image as EXIF asks and remove the tag, or turn the depth"
    return expected + (remedy if turned else "")


def check_aligned(
    images: Sequence[Path],
    sizes: Sequence[tuple[int, int]],
    depth_sizes: Sequence[tuple[int, int] | None],
    turned: Container[Path] = (),
) -> None:
    """Check that every depth map has its image's size.

    Args:
        images: The images' files.
        sizes: (height, width) of each, as stored.
        depth_sizes: Likewise of its depth; None without.
        turned: Images whose EXIF data asks for a turn.

    Raises:
        SpaceClipError: Sizes differ: all counted, the first few named.
    """
    pairs = [
        (path, size, depth) for path, size, depth in zip(images, sizes, depth_sizes, strict=True) if depth is not None
    ]
    differ = [
        f"{path}{' (EXIF turn)' if path in turned else ''} {size[0]} x {size[1]} against {depth[0]} x {depth[1]}"
        for path, size, depth in pairs
        if size != depth
    ]
    if differ:
        any_turned = any(path in turned for path, size, depth in pairs if size != depth)
        raise SpaceClipError(
            f"{counted(len(differ), 'image')} of {len(pairs)} and depth maps differ in size (height x width): "
            f"{first_few(differ)}; {aligned(turned=any_turned)}"
        )
