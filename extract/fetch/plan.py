"""What a fetch will load and take, known before anything is loaded."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...cache import SpaceClipError, size_text
from ..problems import counted, first_few
from ..sources.folder.manifest import read_manifest
from .catalogue import LISTS, Dataset, Part, Source
from .unpack import check_inside, is_there

THERE, FETCH, UNPACK, BY_HAND = "there", "to fetch", "to unpack", "by hand"

_DRIVE = re.compile(r"(?:^|/)(\d{4}_\d{2}_\d{2}_drive_\d{4})_sync/")


@dataclass(frozen=True)
class Package:
    """One zip and the listed files to take out of it.

    Attributes:
        name: Of the part or drive.
        archive: The zip's place.
        source: Its address and SHA-256.
        missing: Names in the lists of the files that are not there.
    """

    name: str
    archive: Path
    source: Source
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What is to do for one part.

    Attributes:
        name: Of the part.
        part: The part.
        state: One of `THERE`, `FETCH`, `UNPACK`, `BY_HAND`.
        detail: What is still to get, in words; empty if that is all of it.
        load: Bytes to load.
        stays: Bytes it takes on the disk.
        passes: Bytes that it takes besides, while at work.
    """

    name: str
    part: Part
    state: str
    detail: str = ""
    load: int = 0
    stays: int = 0
    passes: int = 0


@dataclass(frozen=True)
class Plan:
    """What is to do for a data set.

    Attributes:
        dataset: The data set.
        root: Where it goes.
        steps: What is to do, part by part.
        lists: Where each list is or goes, by part.
        free: Free bytes where the root is.
    """

    dataset: Dataset
    root: Path
    steps: tuple[Step, ...]
    lists: Mapping[str, Path]
    free: int

    @property
    def load(self) -> int:
        """Bytes to load."""
        return sum(step.load for step in self.steps)

    @property
    def space(self) -> int:
        """Bytes it takes on the disk at most, while at work."""
        return sum(step.stays for step in self.steps) + max((step.passes for step in self.steps), default=0)

    def in_state(self, state: str) -> tuple[Step, ...]:
        """The steps in one state."""
        return tuple(step for step in self.steps if step.state == state)

    def check_space(self) -> None:
        """Refuse what cannot fit.

        Raises:
            SpaceClipError: It needs more space than is free.
        """
        if self.space > self.free:
            raise SpaceClipError(
                f"{self.root}: {size_text(self.space)} are needed and {size_text(self.free)} are free: "
                "make room, choose another --root, or fetch a part at a time (--only)"
            )


def plan_fetch(
    dataset: Dataset,
    root: Path,
    names: Sequence[str],
    given: Mapping[str, Path] | None = None,
    keep_archives: bool = False,
) -> Plan:
    """See what is there and what is to do; loads nothing.

    Args:
        dataset: The data set.
        root: Where it goes; need not exist yet.
        names: The parts, as `Dataset.choose` gives them.
        given: Lists given by path, by part; they are read where they are.
        keep_archives: Whether zips are kept once they are unpacked.

    Raises:
        SpaceClipError: A list cannot be read, or names what is no file of the data set.
    """
    given = given or {}
    for path in given.values():
        if not path.is_file():
            found = "is a folder, expected a file" if path.is_dir() else "does not exist"
            raise SpaceClipError(f"the list {path} {found}: check the path")
    lists = {name: given.get(name) or root / dataset.parts[name].to for name in LISTS}
    steps = tuple(_step(name, dataset.parts[name], root, lists, given, keep_archives) for name in names)
    folder = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    return Plan(dataset, root, steps, lists, shutil.disk_usage(folder).free)


def packages(name: str, part: Part, root: Path, lists: Mapping[str, Path]) -> list[Package]:
    """The zips of a part that have listed files to give which are not there.

    Raises:
        SpaceClipError: A list cannot be read, or a name in it tells no drive.
    """
    if part.archive is None:
        return []
    places = (*part.archive.members.values(), *part.archive.elsewhere)
    missing = [path for path in _listed(part, lists) if not is_there(root, places, path)]
    if not part.by_drive:
        return [Package(name, root / part.to, part, tuple(missing))] if missing else []
    drives: dict[str, list[str]] = {}
    for path, drive in zip(missing, map(_drive, missing), strict=True):
        drives.setdefault(drive, []).append(path)
    if nameless := drives.get(""):
        raise SpaceClipError(
            f"{counted(len(nameless), 'listed image')} of no KITTI drive: {first_few(nameless)}; expected names such "
            "as 2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png: mend the list"
        )
    return [
        Package(drive, root / part.to.replace("{drive}", drive), _source(part, drive), tuple(paths))
        for drive, paths in sorted(drives.items())
    ]


def _source(part: Part, drive: str) -> Source:
    own = part.drives.get(drive, Source())
    usual = part.url.replace("{drive}", drive) if part.url else None
    return Source(url=own.url or usual, sha256=own.sha256)


def _drive(path: str) -> str:
    found = _DRIVE.search(path)
    return found[1] if found else ""


def _listed(part: Part, lists: Mapping[str, Path]) -> list[str]:
    """The wanted names, once each, in the order of the lists."""
    wanted: dict[str, None] = {}
    for name, columns in part.archive.of.items() if part.archive else ():
        for row in read_manifest(lists[name]).rows:
            named = {"image": row.image, "depth": row.depth}
            wanted |= {path: None for column in columns if (path := named[column]) is not None}
    check_inside(list(wanted))
    return list(wanted)


def _step(
    name: str, part: Part, root: Path, lists: Mapping[str, Path], given: Mapping[str, Path], keep_archives: bool
) -> Step:
    if name in given:
        return Step(name, part, THERE, f"from {given[name]}")
    if part.archive is None:
        file = root / part.to
        if file.is_file():
            return Step(name, part, THERE)
        load = max(part.size - _loaded(file), 0)
        return Step(name, part, FETCH, load=load, stays=load) if part.url else Step(name, part, BY_HAND)
    if all(lists[needed].is_file() for needed in part.archive.of):
        return _archive_step(name, part, packages(name, part, root, lists), keep_archives)
    # What of it is there, only the lists can tell: all of it is reckoned with.
    unread = Package(name, root / part.to, part, ())
    return replace(_archive_step(name, part, [unread], keep_archives), detail="")


def _archive_step(name: str, part: Part, wanted: Sequence[Package], keep_archives: bool) -> Step:
    """The step of a part in zips; a package of no names stands for the whole part."""
    about = part.archive
    if about is None or not wanted:
        return Step(name, part, THERE)
    whole = not wanted[0].missing
    files = sum(len(package.missing) for package in wanted)
    detail = counted(files, "file") + (f" of {counted(len(wanted), 'drive')}" if part.by_drive else "")
    absent = [package for package in wanted if not package.archive.is_file()]
    if any(package.source.url is None for package in absent):
        return Step(name, part, BY_HAND, detail)
    share = 1.0 if whole else len(absent) / about.count
    load = max(int(part.size * min(share, 1.0)) * bool(absent) - sum(_loaded(one.archive) for one in absent), 0)
    largest = min(load, about.largest or part.size)
    unpacked = about.unpacked if whole else int(about.unpacked * min(files / about.files, 1.0))
    stays, passes = (unpacked + load, 0) if keep_archives else (unpacked, largest)
    return Step(name, part, FETCH if absent else UNPACK, detail, load, stays, passes)


def _loaded(file: Path) -> int:
    """Bytes that an interrupted fetch has already."""
    part = file.with_name(f"{file.name}.part")
    return part.stat().st_size if part.is_file() else 0
