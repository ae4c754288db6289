"""The images that a user names, and what their depth shall be called."""

import glob
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...cache import SpaceClipError
from ...extract import IMAGE_SUFFIXES, first_few, natural_key

CAMERA = "camera:"
"""Begins what names a camera of this machine, such as camera:0."""
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif")


@dataclass(frozen=True, slots=True)
class Input:
    """An image or a video to predict.

    Attributes:
        path: Its file.
        name: What its outputs are called, below the output folder, without their suffixes.
    """

    path: Path
    name: str

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera of this machine."""
        return str(self.path).startswith(CAMERA)

    @property
    def is_video(self) -> bool:
        """Whether it is a video, by its name, or a camera."""
        return self.is_camera or self.path.suffix.lower() in VIDEO_SUFFIXES


def find_inputs(given: Sequence[str], out: Path) -> list[Input]:
    """The images and videos of files, folders and patterns, each once.

    A folder's images are taken from all below it, and named as they lie in it; hidden ones, those in the output folder
    and videos are passed over. Two whose names differ in their suffix alone keep it in the names of their outputs.

    Args:
        given: Paths; one that is not there may be a pattern such as `photos/**/*.jpg`.
        out: Folder of the outputs.

    Raises:
        SpaceClipError: There is no image, or two of several folders have one name.
    """
    found: dict[str, tuple[Path, PurePosixPath]] = {}
    for path, relative in (one for text in given for one in _found(text, out)):
        found.setdefault(os.path.realpath(path), (path, relative))
    if not found:
        raise SpaceClipError(
            f"no image in {first_few(given)}: looked for files that end in {' '.join(IMAGE_SUFFIXES)}; videos are "
            "given by name or pattern"
        )
    alike: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for _, relative in found.values():
        alike[relative.with_suffix("")].append(relative)
    inputs = [
        Input(path, str(relative if len(alike[relative.with_suffix("")]) > 1 else relative.with_suffix("")))
        for path, relative in found.values()
    ]
    owners: dict[str, Path] = {one.name: one.path for one in inputs if one.is_video}
    for one in inputs:
        # The frames of a video lie in a folder of its name.
        taken = next((owners[place] for place in map(str, PurePosixPath(one.name).parents) if place in owners), None)
        if (other := taken or owners.setdefault(one.name, one.path)) != one.path:
            raise SpaceClipError(
                f"{other} and {one.path} would both be written to {out / one.name}: predict them into folders of their "
                "own, or give the folder that both lie in"
            )
    return inputs


def _found(text: str, out: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Files that a path or pattern means, each with its path below the output folder."""
    if text.startswith(CAMERA):
        yield Path(text), PurePosixPath(text.replace(":", ""))
        return
    path = Path(text).expanduser()  # a shell leaves patterns in quotes alone
    if path.is_dir():
        if path.resolve() == out.resolve():
            raise SpaceClipError(f"{path} is given as input and as --out: give an output folder of its own")
        yield from ((file, PurePosixPath(file.relative_to(path).as_posix())) for file in _images(path, out.resolve()))
    elif path.exists() or not glob.has_magic(str(path)):
        if not path.is_file():
            found = "is no file" if path.exists() else "does not exist"
            raise SpaceClipError(f"{path} {found}: expected an image, a folder or a pattern")
        yield path, PurePosixPath(path.name)
    else:
        matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207 - passes over hidden files
        known = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
        files = [Path(match) for match in matches if match.lower().endswith(known) and Path(match).is_file()]
        # The part of a pattern before its first wildcard is the folder that is mirrored.
        root = Path(*_before_wildcard(path.parts[:-1]))
        yield from ((file, PurePosixPath(file.relative_to(root).as_posix())) for file in files)


def _before_wildcard(parts: Sequence[str]) -> list[str]:
    wild = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return list(parts[:wild])


def _images(folder: Path, out: Path) -> Iterator[Path]:
    """Images in a folder and below, in natural order, folder by folder."""
    for place, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted((name for name in folders if name[0] != "."), key=natural_key)
        folders[:] = [name for name in folders if Path(place, name).resolve() != out]
        images = (name for name in files if name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES))
        yield from (Path(place, name) for name in sorted(images, key=natural_key))
