"""The images that a user names, and what their depth shall be called."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from ...cache import SpaceClipError
from ...extract import CONVERT, IMAGE_SUFFIXES, UNREAD_SUFFIXES, counted, first_few, natural_key, no_file
from .record import Record, version_of

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


def find_inputs(given: Sequence[str], out: Path, say: Callable[[str], None]) -> list[Input]:
    """The images and videos of files, folders, patterns and lists, each once.

    A folder's images are taken from all below it, and named as they lie in it; hidden ones, those in the output folder
    and videos are passed over. What `predict` wrote is no input, wherever it lies. Two whose names differ in their
    suffix alone keep it in the names of their outputs; one that has outputs keeps the name that these have.

    Args:
        given: Paths; one that is not there may be a pattern such as `photos/**/*.jpg`, a text file is a list of files.
        out: Folder of the outputs.
        say: Called with a line on what a folder or pattern has that might be meant and cannot be read.

    Raises:
        SpaceClipError: There is no image, two of several folders have one name, or a list names what is no file.
    """
    found: dict[str, tuple[Path, PurePosixPath]] = {}
    outputs, unread = _Outputs(), list[Path]()
    for path, relative in (one for text in given for one in _found(text, out, unread)):
        if path not in outputs:
            found.setdefault(os.path.realpath(path), (path, relative))
    if unread:
        say(f"{counted(len(unread), 'file')} passed over: {first_few(unread)}; {CONVERT}")
    if not found:
        raise SpaceClipError(
            f"no image in {first_few(given)}: looked for files that end in {' '.join(IMAGE_SUFFIXES)} and are no "
            "outputs of predict; videos are given by name or pattern"
        )
    record = Record(out)
    # A name without its suffix is that of no other, with or without its own.
    owners_of = Counter(name for _, whole in found.values() for name in (whole, whole.with_suffix("")))
    inputs = []
    for path, whole in found.values():
        bare = whole.with_suffix("")
        kept = record.name_of((str(whole), str(bare)), version_of(path))
        inputs.append(Input(path, kept or str(whole if owners_of[bare] > 1 else bare)))
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


def _found(text: str, out: Path, unread: list[Path]) -> Iterator[tuple[Path, PurePosixPath]]:
    """Files that a path or pattern means, each with its path below the output folder.

    What a folder or pattern has of the kinds that cannot be read is added to `unread`.
    """
    if text.startswith(CAMERA):
        yield Path(text), PurePosixPath(text.replace(":", ""))
        return
    # A shell leaves patterns in quotes alone; os.path's leaves alone what begins with ~ and is no user.
    path = Path(os.path.expanduser(text))  # noqa: PTH111
    if not text:  # as of a shell's variable that is not set; a Path takes it for the folder where one is
        raise SpaceClipError("an input is the empty text: expected an image, a video, a folder, a pattern or a list")
    if path.is_dir():
        yield from _mirrored(_images(path, out.resolve()), path, unread)
    elif path.is_file() and path.suffix.lower() == ".txt":
        yield from _listed(path)
    elif path.exists() or not glob.has_magic(str(path)):
        if not path.is_file():
            raise SpaceClipError(f"{path} {no_file(path)}: expected an image, a video, a folder, a pattern or a list")
        yield path, PurePosixPath(path.name)
    else:
        matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207 - passes over hidden files
        known = (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES, *VIDEO_SUFFIXES)
        files = (Path(match) for match in matches if match.lower().endswith(known) and Path(match).is_file())
        # The part of a pattern before its first wildcard is the folder that is mirrored.
        yield from _mirrored(files, Path(*_before_wildcard(path.parts[:-1])), unread)


def _mirrored(files: Iterator[Path], root: Path, unread: list[Path]) -> Iterator[tuple[Path, PurePosixPath]]:
    for file in files:
        if file.suffix.lower() in UNREAD_SUFFIXES:
            unread.append(file)
        else:
            yield file, PurePosixPath(file.relative_to(root).as_posix())


def _listed(file: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Files of a list, a line each, from its own folder on; named as the list names them.

    Of a line with columns (image, depth, focal length, as data sets have it) the first is taken.
    """
    for number, line in enumerate(os.fsdecode(file.read_bytes()).split("\n"), 1):
        if not (name := line.strip()):
            continue
        paths = {text: file.parent / os.path.expanduser(text) for text in (name, name.split()[0])}  # noqa: PTH111
        name, path = next(((text, path) for text, path in paths.items() if path.is_file()), (name, paths[name]))
        if not path.is_file():
            raise SpaceClipError(f"{file}, line {number}: {path} {no_file(path)}: expected an image or a video")
        yield path, PurePosixPath(*(part for part in Path(name).parts if part not in (path.anchor, "..", "~")))


def _before_wildcard(parts: Sequence[str]) -> list[str]:
    wild = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return list(parts[:wild])


def _images(folder: Path, out: Path) -> Iterator[Path]:
    """Images in a folder and below, in natural order, folder by folder."""
    known = (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted((name for name in folders if name[0] != "."), key=natural_key)
        folders[:] = [name for name in folders if Path(place, name).resolve() != out]
        images = (name for name in files if name[0] != "." and name.lower().endswith(known))
        yield from (Path(place, name) for name in sorted(images, key=natural_key))


def _refuse(error: OSError) -> NoReturn:
    """A folder that may not be read is not silently passed over."""
    raise error


class _Outputs:
    """The files that the record of some folder above them calls outputs."""

    def __init__(self) -> None:
        self._of: dict[Path, Set[str]] = {}

    def __contains__(self, path: Path) -> bool:
        return any(
            place.relative_to(folder).as_posix() in self._in(folder)
            for place in {path.absolute(), path.resolve()}
            for folder in place.parents
        )

    def _in(self, folder: Path) -> Set[str]:
        if folder not in self._of:
            try:
                self._of[folder] = Record(folder).outputs
            except SpaceClipError:  # somebody else's file of that name
                self._of[folder] = frozenset()
        return self._of[folder]
