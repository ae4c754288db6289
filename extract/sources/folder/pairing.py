"""Which depth file belongs to an image, where no list says so."""

import re
import string
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ....cache import SpaceClipError
from ...problems import counted, first_few
from .depth_maps import DEPTH_SUFFIXES

PLACEHOLDERS = ("parent", "stem", "name", "number")


def pair_depths(images: Sequence[str], root: Path, pattern: str | None) -> list[Path]:
    """The depth file of each image: where the pattern says, else at the image's own path with any depth suffix.

    Raises:
        SpaceClipError: Some images have no depth file, or several.
    """
    candidates = [_candidates(image, root, pattern) for image in images]
    missing = [image for image, found in zip(images, candidates, strict=True) if not found]
    if missing:
        where = f"named {pattern}" if pattern else f"on the same path ending in {' '.join(DEPTH_SUFFIXES)}"
        raise SpaceClipError(
            f"{counted(len(missing), 'image')} of {len(images)} without a depth file in {root}: {first_few(missing)}; "
            f"looked for one {where}: set depth_pattern (--depth-pattern), narrow image_pattern "
            "(--image-pattern), or give a list with None for no depth"
        )
    doubled = [image for image, found in zip(images, candidates, strict=True) if len(found) > 1]
    if doubled:
        raise SpaceClipError(
            f"{counted(len(doubled), 'image')} with more than one depth file in {root}: {first_few(doubled)}; "
            "keep one for each, or set depth_pattern (--depth-pattern)"
        )
    return [found[0] for found in candidates]


def depth_path(image: str, pattern: str) -> str | None:
    """The relative depth path that a pattern makes of an image's; None if the image lacks the number it asks for.

    >>> depth_path("bath/rgb_00045.jpg", "{parent}/sync_depth_{number}.png")
    'bath/sync_depth_00045.png'
    """
    path = PurePosixPath(image)
    numbers = re.findall(r"[0-9]+", path.stem)
    if "{number}" in pattern and not numbers:
        return None
    number = numbers[-1] if numbers else ""
    text = pattern.format(parent=path.parent.as_posix(), stem=path.stem, name=path.name, number=number)
    return PurePosixPath(text).as_posix()


def checked_pattern(pattern: str) -> str:
    """The pattern itself.

    Raises:
        ValueError: It holds a placeholder other than `PLACEHOLDERS`, or none at all.
    """
    fields = [field[1:] for field in string.Formatter().parse(pattern) if field[1] is not None]
    plain = all(name in PLACEHOLDERS and not spec and not conversion for name, spec, conversion in fields)
    if not fields or not plain:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"depth_pattern is {pattern!r}: expected a path made with {known}")
    return pattern


def _candidates(image: str, root: Path, pattern: str | None) -> list[Path]:
    if pattern is not None:
        relative = depth_path(image, pattern)
        paths = [] if relative is None else [root / relative]
    else:
        stem = root / PurePosixPath(image).with_suffix("")
        paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in DEPTH_SUFFIXES]
    return [path for path in paths if path.is_file()]
