"""The images a folder holds, and whether listed files are there."""

import glob
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ....cache import SpaceClipError
from ...problems import counted, first_few
from .images import IMAGE_SUFFIXES


def find_images(folder: Path, pattern: str, depth: Path | None) -> list[str]:
    """Images below a folder, as relative paths in natural order (`frame2` before `frame10`).

    Linked folders are followed; hidden files, and a depth folder that lies inside the images folder, are passed over.

    Raises:
        SpaceClipError: There is no image.
    """
    # Unlike Path.glob, glob.glob follows linked folders and passes over hidden files.
    matches = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    images = {
        PurePosixPath(Path(match).as_posix()).as_posix()
        for match in matches
        if match.lower().endswith(IMAGE_SUFFIXES) and (folder / match).is_file()
    }
    if depth is not None and folder in depth.parents:
        images = {image for image in images if depth not in (folder / image).parents}
    if not images:
        raise SpaceClipError(
            f"no image in {folder}: looked for {pattern} ending in {' '.join(IMAGE_SUFFIXES)}, "
            f"found {_contents(folder)}; check `images` and `image_pattern`"
        )
    return sorted(images, key=natural_key)


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
    missing = [path for path in paths if path is not None and not path.is_file()]
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
