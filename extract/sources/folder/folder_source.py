"""Anybody's images, with or without depth: a folder tree, or a list of files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from ....cache import SpaceClipError
from .files import Files, FileSource, Reading
from .finding import check_text, find_images, skipped, suspected_depth
from .manifest import Row, read_manifest
from .naming import sample_ids, sample_scenes
from .pairing import checked_pattern, pair_depths
from .raster import MAX_PIXELS, allow_pixels


class FolderSettings(BaseModel):
    """Where the images and their depth are, and how to read them.

    Attributes:
        kind: Names this source among the others.
        images: Folder of the images.
        depth: Folder of the depth files; without a pattern or list, each lies at its image's relative path.
        depth_pattern: Relative path of an image's depth file, below `depth` or else `images`, made of {parent}, {stem},
            {name} and {number} (the last run of digits in the stem).
        image_pattern: Which files below `images` to take, when there is no list.
        manifest: Plain list, `.csv` or `.jsonl` of the files to take; paths are relative to `images` and `depth`.
        depth_scale: Stored depth values of one metre; integers need it, floats are metres without it.
        nan_is_invalid: Read NaN and infinite depth as "not measured".
        allow_far: Accept depth maps whose median is implausibly far or near.
        max_pixels: Pictures of more are refused; by default what Pillow takes for a decompression bomb.
        scene: Regular expression whose first group, searched in the sample's id, names its scene; by default the scene
            is the image's folder. A list's own scene column goes first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["folder"] = "folder"
    images: Path
    depth: Path | None = None
    depth_pattern: str | None = None
    image_pattern: str = "**/*"
    manifest: Path | None = None
    depth_scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    nan_is_invalid: bool = False
    allow_far: bool = False
    max_pixels: PositiveInt = MAX_PIXELS
    scene: str | None = None

    @field_validator("depth_pattern")
    @classmethod
    def _known_placeholders(cls, pattern: str | None) -> str | None:
        return None if pattern is None else checked_pattern(pattern)

    @field_validator("scene")
    @classmethod
    def _has_a_group(cls, scene: str | None) -> str | None:
        try:
            groups = 1 if scene is None else re.compile(scene).groups
        except re.error as error:
            raise ValueError(f"scene is {scene!r}, not a regular expression ({error})") from error
        if groups == 0:
            raise ValueError(f"scene is {scene!r}: expected a group in parentheses around the scene's name")
        return scene


class FolderSource(FileSource):
    """The `Source` over a folder or list: files are found at once, and decoded only by `load`.

    Attributes:
        entries: The samples, in the list's order or else in natural order of their paths. A sample's stamp holds the
            sizes of its files, and the scale its depth is read with.
        splits: What the list's split column says of each sample, None without one.

    Raises:
        SpaceClipError: A folder or file is missing (all counted, the first few named), no image was found, an image
            lacks its depth, two samples have one id, or ids do not match the scene expression.
    """

    splits: Sequence[str | None]

    def __init__(self, settings: FolderSettings) -> None:
        _check_folders(settings)
        allow_pixels(settings.max_pixels)
        rows, depths, self._notes = _listed(settings)
        ids = sample_ids(rows)
        scenes = sample_scenes(rows, ids, settings.scene)
        images = [settings.images / row.image for row in rows]
        super().__init__(
            [Files(*sample) for sample in zip(ids, scenes, images, depths, [row.focal for row in rows], strict=True)],
            Reading(settings.depth_scale, settings.nan_is_invalid, settings.allow_far, max_pixels=settings.max_pixels),
            (
                f"check the list and `images` ({settings.images})",
                f"check the list and `depth` ({_depth_root(settings)})",
            ),
        )
        self.splits = [row.split for row in rows]

    def check(self) -> list[str]:
        """Read every header, compare sizes, then decode samples spread evenly.

        Raises:
            SpaceClipError: All problems of the first kind found are counted, and the first few named.
        """
        return [*self._notes, *super().check()]


def _check_folders(settings: FolderSettings) -> None:
    for name, folder in (("images", settings.images), ("depth", settings.depth)):
        if folder is not None and not folder.is_dir():
            found = "is a file" if folder.is_file() else "does not exist"
            raise SpaceClipError(f"the {name} folder {folder} {found}: expected a folder, check `{name}`")


def _listed(settings: FolderSettings) -> tuple[Sequence[Row], Sequence[Path | None], list[str]]:
    """The samples, the depth file of each, and what should be known of the files, a line each."""
    others: Sequence[str] = ()
    if settings.manifest is None:
        found = find_images(settings.images, settings.image_pattern, settings.depth)
        rows, others = [Row(image) for image in found.images], found.others
    else:
        manifest = read_manifest(settings.manifest)
        rows = manifest.rows
        check_text([text for row in rows for text in (row.image, row.depth, row.id, row.scene) if text])
        if manifest.names_depth and settings.depth_pattern is not None:
            raise SpaceClipError(
                f"{settings.manifest} names depth files and depth_pattern is set too: keep one of them"
            )
        if manifest.names_depth:
            return rows, [None if row.depth is None else _depth_root(settings) / row.depth for row in rows], []
    if settings.depth is None and settings.depth_pattern is None:
        images = [row.image for row in rows]
        return (
            rows,
            [None] * len(rows),
            skipped(others) + (suspected_depth(images) if settings.manifest is None else []),
        )
    depths = pair_depths([row.image for row in rows], _depth_root(settings), settings.depth_pattern)
    # Where images and depth share a folder, a depth map must not be taken for a picture with itself as its depth.
    taken = set(depths)
    kept = [pair for pair in zip(rows, depths, strict=True) if settings.images / pair[0].image not in taken]
    if not kept:
        raise SpaceClipError(
            f"every image in {settings.images} is its own depth file by the pattern {settings.depth_pattern}; mend it"
        )
    notes = skipped([other for other in others if settings.images / other not in taken])
    return [row for row, _ in kept], [depth for _, depth in kept], notes


def _depth_root(settings: FolderSettings) -> Path:
    return settings.images if settings.depth is None else settings.depth
