"""The images a folder holds, and whether listed files are there."""

import glob
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ....cache import SpaceClipError
from ...problems import counted, first_few, missing_file
from .images import IMAGE_SUFFIXES

_DEPTH_NAME = re.compile(r"(?:^|[/_. -])(?:depth(?:s|_?maps?)?|disp(?:arity)?)(?:[/_. -]|[0-9]*$)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """What a folder holds, as relative paths with forward slashes.

    Attributes:
        images: The images, in natural order (`frame2` before `frame10`).
        others: Files that match the pattern and are none that can be read.
    """

    images: Sequence[str]
    others: Sequence[str]


def find_images(folder: Path, pattern: str, depth: Path | None) -> Found:
    """Images below a folder.

    Linked folders are followed; hidden files, and a depth folder that lies inside the images folder, are passed over.

    Raises:
        SpaceClipError: There is no image, or a name is not text.
    """
    # Unlike Path.glob, glob.glob follows linked folders and passes over hidden files.
    matches = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    files = {PurePosixPath(Path(match).as_posix()).as_posix() for match in matches if (folder / match).is_file()}
    check_files(folder, matches)
    if depth is not None and folder in depth.parents:
        files = {file for file in files if depth not in (folder / file).parents}
    images = sorted((file for file in files if file.lower().endswith(IMAGE_SUFFIXES)), key=natural_key)
    if not images:
        raise SpaceClipError(
            f"no image in {folder}: looked for {pattern} ending in {' '.join(IMAGE_SUFFIXES)}, "
            f"found {_contents(folder)}; check images (--images) and image_pattern (--image-pattern)"
        )
    check_text(images)
    return Found(images, sorted(files.difference(images)))


def check_files(folder: Path, matches: Sequence[str]) -> None:
    """Refuse what is called an image and is no file: to read a pipe never ends, and a broken link leads nowhere.

    Raises:
        SpaceClipError: All such names are counted, and the first few given.
    """
    images = [folder / match for match in matches if match.lower().endswith(IMAGE_SUFFIXES)]
    if odd := [path for path in images if not path.is_file() and not path.is_dir()]:
        raise SpaceClipError(
            f"of {counted(len(images), 'image')} {len(odd)} {'is' if len(odd) == 1 else 'are'} no file but a broken "
            f"link, a pipe or a device: {first_few(sorted(odd, key=lambda path: natural_key(str(path))))}; remove or "
            "replace what is no file, or narrow image_pattern (--image-pattern)"
        )


def check_text(paths: Sequence[str]) -> None:
    """Refuse names that cannot be written down: not every file system's bytes are text.

    Raises:
        SpaceClipError: All such names are counted, and the first few given.
    """
    if wrong := [ascii(path) for path in paths if not path.isascii() and _not_utf8(path)]:
        raise SpaceClipError(
            f"{counted(len(wrong), 'file name')} not in UTF-8: {first_few(wrong)}; no store can hold them, rename"
        )


def skipped(others: Sequence[str]) -> list[str]:
    """Of files that were passed over, one line that counts them by their endings; none where there are none."""
    if not others:
        return []
    endings = Counter(PurePosixPath(file).suffix.lower() or "without ending" for file in others)
    kinds = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(6))
    known = " ".join(IMAGE_SUFFIXES)
    return [f"{counted(len(others), 'file')} skipped ({kinds}): {first_few(others)}; images end in {known}"]


def suspected_depth(images: Sequence[str]) -> list[str]:
    """Of images, one line that names those that are called depth; none where there are none."""
    found = [image for image in images if _DEPTH_NAME.search(PurePosixPath(image).with_suffix("").as_posix())]
    if not found:
        return []
    remedy = (
        "if they are depth maps, set depth (--depth) or depth_pattern (--depth-pattern), or narrow image_pattern "
        "(--image-pattern)"
    )
    of = f"{len(found)} of {counted(len(images), 'image')}"
    return [f"{of} called depth and read as images: {first_few(found)}; {remedy}"]


def natural_key(path: str) -> tuple[list[str | int], str]:
    """Sort key in which runs of digits compare as numbers.

    >>> sorted(["a10", "a9", "a1"], key=natural_key)
    ['a1', 'a9', 'a10']
    """
    parts = re.split(r"([0-9]+)", path)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path


def file_bytes(paths: Sequence[Path | None], noun: str, remedy: str) -> list[int | None]:
    """Sizes of files in bytes; None where there is no path.

    Raises:
        SpaceClipError: Some do not exist: all counted, the first few named, with the remedy.
    """
    missing = [missing_file(path) for path in paths if path is not None and not path.is_file()]
    if missing:
        raise SpaceClipError(
            f"{counted(len(missing), noun)} of {len(paths)} not found: {first_few(missing)}; {remedy}",
        )
    return [None if path is None else path.stat().st_size for path in paths]


def _contents(folder: Path) -> str:
    suffixes = Counter(path.suffix.lower() or "without suffix" for path in folder.rglob("*") if path.is_file())
    if not suffixes:
        return "no file at all"
    kinds = ", ".join(f"{number} {suffix}" for suffix, number in suffixes.most_common(5))
    return f"{counted(suffixes.total(), 'file')} ({kinds})"


def _not_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
