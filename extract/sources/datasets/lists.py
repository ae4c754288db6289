"""Split lists: which are the released ones, and the validation split made of the training list."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....cache import Entry, SpaceClipError, write_atomically
from ..folder.manifest import Row, read_manifest
from ..folder.naming import sample_ids, sample_scenes
from ..splits import SplitSettings, assign
from .layout import CONTROLLED_SEED, DatasetData, Layout, Part
from .roots import find_level, holds_any

CONTROLLED = SplitSettings(by="scene", val=0.1, seed=CONTROLLED_SEED)
"""The published validation split: whole scenes out of the training list."""


@dataclass(frozen=True)
class ReleasedList:
    """A split list as its authors released it.

    Attributes:
        kind: The data set's kind.
        part: What it lists.
        sha256: Of the file.
        lines: Frames it names.
        without_depth: Of these, frames without ground truth.
    """

    kind: str
    part: Part
    sha256: str
    lines: int
    without_depth: int = 0


RELEASED = (
    ReleasedList("nyu", "train", "66e2beb718a58c5c946c169f6e70cc6ae166ddd19f5618266fff52ff7443e0e9", 24_231),
    ReleasedList("nyu", "test", "e92c191d5835a22589b843c11b80cd7235d5bd0d4136e42a6debcea4511bf906", 654),
    ReleasedList("kitti", "train", "93ae5e70b3a2824ee2658abd393a049a7924efae1b6911a93853338bb4faad9e", 23_158),
    ReleasedList("kitti", "test", "8d0499af9ab4c0d1cd7944d572b0e0e4412feab1e73f4003038426fde699b53a", 697, 45),
)

NYU_CONTROLLED_GROUPS = {"train": 224, "val": 25}
NYU_CONTROLLED_FRAMES = {"train": 21_974, "val": 2_257}
NYU_CONTROLLED_SHA256 = {
    "train": "303748b4056dbcbdab7dafe8a7ec26eb3677fb8cbcbc4f75030b0c523e16dd1d",
    "val": "dc7f0e200061fd827a9f17e0130c843d7787b2353c0931e2fa21c476452bca56",
}
"""What the released NYU training list must give by `CONTROLLED`."""


@dataclass(frozen=True)
class SplitList:
    """One list that was read.

    Attributes:
        path: Its file.
        sha256: See `list_sha256`.
        released: The released list that it is; None if none.
        rows: The frames it names.
    """

    path: Path
    sha256: str
    released: ReleasedList | None
    rows: Sequence[Row]


def official(kind: str, part: Part) -> ReleasedList:
    """The released list of one part of a data set."""
    return next(found for found in RELEASED if (found.kind, found.part) == (kind, part))


def list_path(settings: DatasetData, part: Part) -> Path | None:
    """The list of one part: the one given, else one at a usual place, else None."""
    given = settings.train_list if part == "train" else settings.test_list
    if given is not None:
        return given
    return _usual_list(settings.root, settings.layout, part)


def required_list(settings: DatasetData, part: Part) -> Path:
    """The list of one part.

    Raises:
        SpaceClipError: There is none; names the level above or below root that has one.
    """
    path = list_path(settings, part)
    if path is None:
        names = settings.layout.lists[part]
        level = find_level(settings.root, lambda folder: _is_root(folder, settings.layout, part))
        found = "is no folder" if not settings.root.is_dir() else f"holds no list {' or '.join(names)}"
        advice = f"this level looks right: {level}" if level else f"check `root`, or give the list as {part}_list"
        raise SpaceClipError(f"{settings.layout.title} root {settings.root} {found}; {advice}")
    return path


def list_sha256(content: bytes) -> str:
    """SHA-256 of a list's content; of a released list, foreign line ends apart, the released one."""
    digests = [hashlib.sha256(text).hexdigest() for text in (content, content.replace(b"\r\n", b"\n"))]
    known = {found.sha256 for found in RELEASED}
    return next((digest for digest in digests if digest in known), digests[0])


def read_list(path: Path, kind: str, part: Part) -> SplitList:
    """Read a list that stands for one part of a data set.

    Raises:
        SpaceClipError: It cannot be read, is the released list of something else, or names no depth, none to train on,
            or one depth file for all images.
    """
    manifest = read_manifest(path)
    content = path.read_bytes()
    sha256 = list_sha256(content)
    released = next((found for found in RELEASED if found.sha256 == sha256), None)
    if released and (released.kind, released.part) != (kind, part):
        raise SpaceClipError(
            f"{path} is given as the {kind} {part} list but is the released {released.kind} {released.part} list: "
            f"are {'the train and test lists swapped' if released.kind == kind else 'the data sets mixed up'}?"
        )
    if not manifest.names_depth:
        raise SpaceClipError(f"{path} names no depth files: expected `image depth focal` a line, `None` for no depth")
    depths = [row.depth for row in manifest.rows if row.depth is not None]
    if part == "train" and not depths:
        raise SpaceClipError(f"{path} gives `None` for the depth of every image: expected depth to train on")
    if len(depths) > 1 and len(set(depths)) == 1:
        raise SpaceClipError(f"{path} names the same depth file for every image, {depths[0]}: expected each its own")
    return SplitList(path, sha256, released, manifest.rows)


def list_names(listed: SplitList, layout: Layout) -> tuple[list[str], list[str | None]]:
    """Ids and scenes of the listed frames.

    Raises:
        SpaceClipError: A frame is listed twice, or its path names no scene.
    """
    ids = sample_ids(listed.rows)
    try:
        return ids, sample_scenes(listed.rows, ids, layout.scene)
    except SpaceClipError as error:
        raise SpaceClipError(
            f"{listed.path} is no {layout.title} list: expected images such as {layout.example}; {error}"
        ) from error


def check_controlled(released: ReleasedList | None, split: SplitSettings, parts: Mapping[str, Sequence[Entry]]) -> None:
    """Hold the division of the released NYU training list against the published one.

    Raises:
        SpaceClipError: They differ, which is a defect of this program.
    """
    if released != official("nyu", "train") or split != CONTROLLED:
        return
    groups = {name: len({entry.scene for entry in entries}) for name, entries in parts.items()}
    frames = {name: len(entries) for name, entries in parts.items()}
    if groups != NYU_CONTROLLED_GROUPS:
        raise _bug("groups", groups, NYU_CONTROLLED_GROUPS)
    if frames != NYU_CONTROLLED_FRAMES:
        raise _bug("frames", frames, NYU_CONTROLLED_FRAMES)


def write_split_lists(settings: DatasetData, out: Path) -> dict[str, tuple[Path, int, str]]:
    """Divide the training list as for `controlled` weights: `train.txt` to train on, `val.txt` to choose by.

    Lines are kept as they are, in their order, each ended by a newline. Nothing is written unless both lists can be.

    Returns:
        Path, number of lines, and SHA-256 of each list.

    Raises:
        SpaceClipError: The training list is missing, not plain, or has too few scenes, or the released NYU list gives
            other than the published split, or a file of that name holds something else.
    """
    listed = read_list(required_list(settings, "train"), settings.layout.kind, "train")
    lines = [line for line in listed.path.read_text("utf-8-sig").split("\n") if line.strip()]
    if listed.path.suffix.lower() in {".csv", ".jsonl"}:
        raise SpaceClipError(f"{listed.path}: only a plain list can be divided into lists; expected .txt")
    ids, scenes = list_names(listed, settings.layout)
    entries = [Entry(name, scene, "") for name, scene in zip(ids, scenes, strict=True)]
    parts = assign(entries, CONTROLLED)
    del parts["test"]
    check_controlled(listed.released, CONTROLLED, {name: [entries[i] for i in parts[name]] for name in parts})
    contents = {name: "".join(f"{lines[index]}\n" for index in parts[name]).encode() for name in parts}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    if listed.released == official("nyu", "train") and digests != NYU_CONTROLLED_SHA256:
        raise _bug("lists", digests, NYU_CONTROLLED_SHA256)
    paths = {name: out / f"{name}.txt" for name in parts}
    for name, path in paths.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == contents[name]):
            raise SpaceClipError(f"{path} exists and holds something else: give another folder for the lists")
    for name, path in paths.items():
        write_atomically(path, contents[name])
    return {name: (path, len(parts[name]), digests[name]) for name, path in paths.items()}


def _usual_list(root: Path, layout: Layout, part: Part) -> Path | None:
    return next((path for name in layout.lists[part] if (path := root / name).is_file()), None)


def _is_root(folder: Path, layout: Layout, part: Part) -> bool:
    """Whether a folder holds a list of the part, and images that it lists."""
    path = _usual_list(folder, layout, part)
    if path is None:
        return False
    try:
        rows = read_manifest(path).rows[:5]
    except SpaceClipError:
        return False
    return holds_any(folder, layout.images[part], [row.image for row in rows])


def _bug(what: str, found: object, expected: object) -> SpaceClipError:
    return SpaceClipError(
        f"the released NYU training list was divided into {what} {found}, expected {expected}: "
        "a bug in SpaceCLIP, please report it"
    )
