"""The files that a split list names, found in a data set's layout."""

from collections.abc import Sequence
from pathlib import Path

from ....cache import Entry
from ...problems import counted, first_few
from ..folder.files import Crop, Files, FileSource, Reading
from .depth import judge, probe
from .layout import DatasetData, Part
from .lists import list_names, read_list, required_list
from .roots import find_file, find_level, holds_any, seen_in


class ListedSource(FileSource):
    """The `Source` over those frames of one list whose images are there.

    Attributes:
        listed: The list.
        path: Its file.
        named: All frames that it names.
        files: The files of those whose image is there.
        missing_images: Listed images that are nowhere.
        missing_depths: Listed depth files that are nowhere.
        problem: What is wrong where files are missing, and what to do, in one line; None where none are.

    Raises:
        SpaceClipError: The list cannot be read or is another one.
    """

    def __init__(self, settings: DatasetData, part: Part, crop: Crop | None = None) -> None:
        root, layout = settings.root, settings.layout
        self._settings = settings
        self.listed = read_list(required_list(settings, part), layout.kind, part)
        self.path, rows = self.listed.path, self.listed.rows
        ids, scenes = list_names(self.listed, layout)
        self.named = [Entry(name, scene, "") for name, scene in zip(ids, scenes, strict=True)]
        images = [find_file(root, layout.images[part], row.image) for row in rows]
        depths = [find_file(root, layout.depths[part], row.depth) if row.depth else None for row in rows]
        self.missing_images = [row.image for row, image in zip(rows, images, strict=True) if not image]
        self.missing_depths = [row.depth for row, depth in zip(rows, depths, strict=True) if row.depth and not depth]
        self.problem = self._misplaced(part)
        found = zip(ids, scenes, images, depths, [row.focal for row in rows], strict=True)
        self.files = [Files(name, scene, image, depth, focal) for name, scene, image, depth, focal in found if image]
        super().__init__(
            self.files,
            Reading(layout.depth_scale, allow_far=True, crop=crop),  # far depth is judged by `check`
            (f"check {self.path}", f"check {self.path}"),
        )

    def check(self) -> list[str]:
        """Read every header, compare sizes, then decode samples spread evenly and judge their depth.

        Raises:
            SpaceClipError: All problems of the first kind found are counted, and the first few named.
        """
        notes = self.check_headers()
        maps = probe(self)
        if not self._settings.allow_odd_depth:
            judge(maps, self._settings.layout.plausible, str(self.path))
        return notes

    def _misplaced(self, part: Part) -> str | None:
        root, layout, rows = self._settings.root, self._settings.layout, self.listed.rows
        if len(self.missing_images) == len(rows):
            first = [row.image for row in rows[:5]]
            other: Part = "test" if part == "train" else "train"
            folders = _folders(root, layout.images[part])
            if holds_any(root, layout.images[other], first):
                return (
                    f"none of the images that {self.path} lists for {part} is in {folders}, "
                    f"but they are where the {other} images lie: the train and test lists look swapped"
                )
            level = find_level(root, lambda folder: holds_any(folder, layout.images[part], first))
            found = "is no folder" if not root.is_dir() else f"holds none of the images that {self.path} lists"
            looked = f"looked for {first[0]} in {folders}; {self._settings.elsewhere(part)}"
            return f"{layout.title} root {root} {found}; {f'this level looks right: {level}' if level else looked}"
        for noun, missing, total, folders in (
            ("image", self.missing_images, len(rows), layout.images[part]),
            ("depth file", self.missing_depths, sum(row.depth is not None for row in rows), layout.depths[part]),
        ):
            if missing:
                missing = [seen_in(root, folders, name) for name in missing]
                return (
                    f"{counted(len(missing), noun)} of {total} that {self.path} lists not found: {first_few(missing)}; "
                    f"looked in {_folders(root, folders)}: fetch them, or take their lines out of a copy of the list"
                )
        return None


def _folders(root: Path, folders: Sequence[str]) -> str:
    return ", ".join(str(root / folder) for folder in folders)
