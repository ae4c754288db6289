"""The files that a split list names, found in a data set's layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ....cache import Entry
from ...problems import counted, first_few
from ..folder.files import Crop, Files, FileSource, Reading
from .depth import judge, probe
from .layout import DatasetData, Part
from .lists import SplitList, list_names, read_list, required_list
from .roots import find_file, find_level, holds_any


@dataclass(frozen=True)
class Located:
    """Where the files of a list are.

    Attributes:
        images: The image of each frame; None where it is missing.
        depths: The depth file of each frame; None where it is missing, or the list says that there is none.
        missing_images: Listed images that are nowhere.
        missing_depths: Listed depth files that are nowhere.
    """

    images: Sequence[Path | None]
    depths: Sequence[Path | None]
    missing_images: Sequence[str]
    missing_depths: Sequence[str]


class ListedSource(FileSource):
    """The `Source` over those frames of one list whose images are there.

    Attributes:
        listed: The list.
        named: All frames that it names.
        located: Where their files are, and which are missing.
        problem: What is wrong where files are missing, and what to do, in one line; None where none are.
        files: The files of the frames that are there.

    Raises:
        SpaceClipError: The list cannot be read or is another one.
    """

    def __init__(self, settings: DatasetData, part: Part, crop: Crop | None = None) -> None:
        layout = settings.layout
        self._settings = settings
        self.listed = read_list(required_list(settings, part), layout.kind, part)
        ids, scenes = list_names(self.listed, layout)
        self.named = [Entry(name, scene, "") for name, scene in zip(ids, scenes, strict=True)]
        self.located = _locate(settings, part, self.listed)
        self.problem = _misplaced(settings, part, self.listed, self.located)
        found = zip(ids, scenes, self.located.images, self.located.depths, strict=True)
        self.files = [Files(name, scene, image, depth) for name, scene, image, depth in found if image is not None]
        super().__init__(
            self.files,
            Reading(layout.depth_scale, allow_far=True, crop=crop),  # far depth is judged by `check`
            (f"check {self.listed.path}", f"check {self.listed.path}"),
        )

    def check(self) -> list[str]:
        """Read every header, compare sizes, then decode samples spread evenly and judge their depth.

        Raises:
            SpaceClipError: All problems of the first kind found are counted, and the first few named.
        """
        notes = self.check_headers()
        maps = probe(self)
        if not self._settings.allow_odd_depth:
            judge(maps, self._settings.layout.plausible, str(self.listed.path))
        return notes


def _locate(settings: DatasetData, part: Part, listed: SplitList) -> Located:
    root, layout = settings.root, settings.layout
    images = [find_file(root, layout.images[part], row.image) for row in listed.rows]
    depths = [None if row.depth is None else find_file(root, layout.depths[part], row.depth) for row in listed.rows]
    return Located(
        images,
        depths,
        [row.image for row, image in zip(listed.rows, images, strict=True) if image is None],
        [str(row.depth) for row, depth in zip(listed.rows, depths, strict=True) if row.depth and depth is None],
    )


def _misplaced(settings: DatasetData, part: Part, listed: SplitList, located: Located) -> str | None:
    root, layout, rows = settings.root, settings.layout, listed.rows
    if len(located.missing_images) == len(rows):
        first = [row.image for row in rows[:5]]
        other: Part = "test" if part == "train" else "train"
        if holds_any(root, layout.images[other], first):
            return (
                f"none of the images that {listed.path} lists for {part} is in {_folders(root, layout.images[part])}, "
                f"but they are where the {other} images lie: the train and test lists look swapped"
            )
        level = find_level(root, lambda folder: holds_any(folder, layout.images[part], first))
        found = "is no folder" if not root.is_dir() else f"holds none of the images that {listed.path} lists"
        looked = f"looked for {rows[0].image} in {_folders(root, layout.images[part])}"
        advice = f"this level looks right: {level}" if level else f"{looked}; {settings.elsewhere(part)}"
        return f"{layout.title} root {root} {found}; {advice}"
    for noun, missing, total, folders in (
        ("image", located.missing_images, len(rows), layout.images[part]),
        ("depth file", located.missing_depths, sum(row.depth is not None for row in rows), layout.depths[part]),
    ):
        if missing:
            return (
                f"{counted(len(missing), noun)} of {total} that {listed.path} lists not found: {first_few(missing)}; "
                f"looked in {_folders(root, folders)}: fetch them, or take their lines out of a copy of the list"
            )
    return None


def _folders(root: Path, folders: Sequence[str]) -> str:
    return ", ".join(str(root / folder) for folder in folders)
