"""Anybody's images, with or without depth: a folder tree, or a list of files."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...cache import SpaceClipError
from ..sources import Entry, Sample
from .finding import file_bytes, find_images
from .headers import check_aligned, read_all, read_depth_headers, read_image_sizes
from .images import DepthHeader, read_depth, read_image
from .manifest import Row, read_manifest
from .naming import sample_ids, sample_scenes
from .pairing import checked_pattern, pair_depths

MILLIMETRE = 0.001


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
        allow_far: Accept depth maps whose median is implausibly far.
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


class FolderSource:
    """The `Source` over a folder or list: files are found at once, and decoded only by `load`.

    Attributes:
        entries: The samples, in the list's order or else in natural order of their paths. A sample's stamp holds the
            sizes of its files, and the scale its depth is read with.
        splits: What the list's split column says of each sample, None without one.

    Raises:
        SpaceClipError: A folder or file is missing (all counted, the first few named), no image was found, an image
            lacks its depth, two samples have one id, or ids do not match the scene expression.
    """

    entries: Sequence[Entry]
    splits: Sequence[str | None]

    def __init__(self, settings: FolderSettings) -> None:
        _check_folders(settings)
        rows, self._depths = _rows_and_depths(settings)
        self._images = [settings.images / row.image for row in rows]
        self._settings = settings
        image_bytes = file_bytes(self._images, "image", f"check the list and `images` ({settings.images})")
        depth_bytes = file_bytes(self._depths, "depth file", f"check the list and `depth` ({_depth_root(settings)})")
        stamps = [_stamp(*sizes, settings.depth_scale) for sizes in zip(image_bytes, depth_bytes, strict=True)]
        ids = sample_ids(rows)
        scenes = sample_scenes(rows, ids, settings.scene)
        self.entries = [Entry(*entry) for entry in zip(ids, scenes, stamps, strict=True)]
        self.splits = [row.split for row in rows]

    @property
    def depth_unit(self) -> float | None:
        """Metres of one count where all depth is 16-bit integers, else a millimetre; None without depth.

        Raises:
            SpaceClipError: Depth files cannot be read, or are integers while there is no scale.
        """
        headers = [header for header in self._depth_headers if header is not None]
        if not headers:
            return None
        counts = all(header.dtype.kind in "iu" and header.dtype.itemsize == 2 for header in headers)
        return 1 / (self._settings.depth_scale or 1.0) if counts else MILLIMETRE

    def depth_sizes(self) -> list[tuple[int, int] | None]:
        """Native (height, width) of every sample's depth map; None where there is none.

        Raises:
            SpaceClipError: Depth files cannot be read.
        """
        return [None if header is None else header.size for header in self._depth_headers]

    def load(self, index: int) -> Sample:
        """Decode one sample.

        Raises:
            SpaceClipError: A file cannot be read, image and depth differ in size, or the depth cannot be right.
        """
        entry, settings = self.entries[index], self._settings
        image, depth_file = read_image(self._images[index]), self._depths[index]
        if depth_file is None:
            return Sample(entry.id, image, None, entry.scene)
        depth = read_depth(
            depth_file, settings.depth_scale, nan_is_invalid=settings.nan_is_invalid, allow_far=settings.allow_far
        )
        if depth.shape != image.shape[:2]:
            found, expected = (f"{height} x {width}" for height, width in (depth.shape, image.shape[:2]))
            raise SpaceClipError(
                f"{depth_file} is {found} but its image {expected} (height x width): "
                "expected depth aligned to its image, pixel by pixel"
            )
        return Sample(entry.id, image, depth, entry.scene)

    def check(self, probe: int = 8) -> None:
        """Read every header, compare sizes, then decode `probe` samples spread evenly.

        Raises:
            SpaceClipError: All problems of the first kind found are counted, and the first few named.
        """
        check_aligned(self._images, read_image_sizes(self._images), self.depth_sizes())
        probed = sorted({round(index) for index in np.linspace(0, len(self._images) - 1, probe)})
        read_all(probed, self.load, "probed sample", lambda index: self.entries[index].id)

    @cached_property
    def _depth_headers(self) -> list[DepthHeader | None]:
        return read_depth_headers(self._depths, self._settings.depth_scale)


def _check_folders(settings: FolderSettings) -> None:
    for name, folder in (("images", settings.images), ("depth", settings.depth)):
        if folder is not None and not folder.is_dir():
            found = "is a file" if folder.is_file() else "does not exist"
            raise SpaceClipError(f"the {name} folder {folder} {found}: expected a folder, check `{name}`")


def _rows_and_depths(settings: FolderSettings) -> tuple[Sequence[Row], Sequence[Path | None]]:
    if settings.manifest is None:
        rows = [Row(image) for image in find_images(settings.images, settings.image_pattern, settings.depth)]
    else:
        manifest = read_manifest(settings.manifest)
        rows = manifest.rows
        if manifest.names_depth and settings.depth_pattern is not None:
            raise SpaceClipError(
                f"{settings.manifest} names depth files and depth_pattern is set too: keep one of them"
            )
        if manifest.names_depth:
            return rows, [None if row.depth is None else _depth_root(settings) / row.depth for row in rows]
    if settings.depth is None and settings.depth_pattern is None:
        return rows, [None] * len(rows)
    depths = pair_depths([row.image for row in rows], _depth_root(settings), settings.depth_pattern)
    # Where images and depth share a folder, a depth map must not be taken for a picture with itself as its depth.
    taken = set(depths)
    kept = [pair for pair in zip(rows, depths, strict=True) if settings.images / pair[0].image not in taken]
    if not kept:
        raise SpaceClipError(
            f"every image in {settings.images} is its own depth file by the pattern {settings.depth_pattern}; mend it"
        )
    return [row for row, _ in kept], [depth for _, depth in kept]


def _depth_root(settings: FolderSettings) -> Path:
    return settings.images if settings.depth is None else settings.depth


def _stamp(image_bytes: int | None, depth_bytes: int | None, scale: float | None) -> str:
    return f"{image_bytes}" if depth_bytes is None else f"{image_bytes}+{depth_bytes}/{scale or 1.0}"
