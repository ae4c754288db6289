"""Samples whose image and depth are files of their own: stamps, reading, checking."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ....cache import Counts, SpaceClipError
from ...problems import counted, first_few
from ..source import CameraFacts, Entry, Sample, camera_facts
from .depth_maps import DepthHeader, read_depth
from .finding import file_bytes
from .headers import aligned, check_aligned, read_all, read_depth_headers, read_image_headers
from .images import ImageHeader, image_header, read_image
from .raster import MAX_PIXELS

MILLIMETRE = 0.001
_PROBED = 8


@dataclass(frozen=True)
class Crop:
    """The lowest rows and middle columns, cut from image and depth alike; KITTI's "KB crop" at 352 x 1216.

    Attributes:
        height: Rows kept.
        width: Columns kept.
    """

    height: int
    width: int

    def holds(self, size: tuple[int, int]) -> bool:
        """Whether it can be cut from a raster of this (height, width)."""
        return size[0] >= self.height and size[1] >= self.width

    def cut(self, raster: NDArray[Any]) -> NDArray[Any]:
        """The crop of [H, W, ...]: top = H - height, left = int((W - width) / 2)."""
        left, top, right, bottom = self._box(raster.shape[0], raster.shape[1])
        return raster[top:bottom, left:right]

    def cut_picture(self, picture: Image.Image) -> Image.Image:
        """Likewise."""
        return picture.crop(self._box(picture.height, picture.width))

    def _box(self, height: int, width: int) -> tuple[int, int, int, int]:
        left = (width - self.width) // 2
        return left, height - self.height, left + self.width, height

    def __str__(self) -> str:
        return f"{self.height} x {self.width}"


@dataclass(frozen=True)
class Reading:
    """How files become arrays.

    Attributes:
        depth_scale: Stored depth values of one metre; integers need it, floats are metres without it.
        nan_is_invalid: Read NaN and infinite depth as "not measured".
        allow_far: Accept depth maps whose median is implausibly far or near.
        crop: What is kept of image and depth; None for all.
        max_pixels: Larger pictures are refused.
    """

    depth_scale: float | None = None
    nan_is_invalid: bool = False
    allow_far: bool = False
    crop: Crop | None = None
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Files:
    """The files of one sample.

    Attributes:
        id: The sample's name.
        scene: Its scene.
        image: The image file.
        depth: The depth file; None for an image without depth.
        focal: Focal length across in pixels, if a list has it.
    """

    id: str
    scene: str | None
    image: Path
    depth: Path | None
    focal: float | None = None


class FileSource:
    """The `Source` over image and depth files: looked for at once, decoded only by `load`.

    Attributes:
        entries: The samples, in the order given. A sample's stamp holds the sizes of its files, the scale its depth is
            read with, and the crop.

    Args:
        samples: The files of each sample.
        reading: How to read them.
        remedies: What to do where images, and where depth files, are missing.

    Raises:
        SpaceClipError: Files are missing (all counted, the first few named).
    """

    entries: Sequence[Entry]

    def __init__(self, samples: Sequence[Files], reading: Reading, remedies: tuple[str, str]) -> None:
        self._images = [sample.image for sample in samples]
        self._depths = [sample.depth for sample in samples]
        self._focals = [sample.focal for sample in samples]
        self._reading = reading
        self._image_bytes = image_bytes = file_bytes(self._images, "image", remedies[0])
        self._depth_bytes = depth_bytes = file_bytes(self._depths, "depth file", remedies[1])
        self.entries = [
            Entry(sample.id, sample.scene, _stamp(image, depth, reading))
            for sample, image, depth in zip(samples, image_bytes, depth_bytes, strict=True)
        ]

    @property
    def depth_unit(self) -> float | None:
        """Metres of one count where all depth is 16-bit integers, else a millimetre; None without depth.

        Raises:
            SpaceClipError: Depth files cannot be read, or are integers while there is no scale.
        """
        if not any(self._depth_headers):
            return None
        return 1 / (self._reading.depth_scale or 1.0) if self.depth_counts == "uint16" else MILLIMETRE

    @property
    def depth_counts(self) -> Counts:
        """`uint16` where all depth is 16-bit integers.

        Raises:
            SpaceClipError: As `depth_unit`.
        """
        kinds = {(header.dtype.kind in "iu", header.dtype.itemsize) for header in self._depth_headers if header}
        return "uint16" if kinds <= {(True, 2)} else "uint32"

    def depth_sizes(self) -> list[tuple[int, int] | None]:
        """(height, width) of every sample's depth map as it is loaded; None where there is none.

        Raises:
            SpaceClipError: Depth files cannot be read.
        """
        crop = self._reading.crop
        cropped = None if crop is None else (crop.height, crop.width)
        return [None if header is None else cropped or header.size for header in self._depth_headers]

    @property
    def camera(self) -> CameraFacts | None:
        """What the list says of the camera.

        Raises:
            SpaceClipError: Depth files cannot be read.
        """
        return camera_facts(self._focals, self.depth_sizes()) if any(self._focals) else None

    def load(self, index: int) -> Sample:
        """Decode one sample; an image without depth is turned as its EXIF data asks.

        Raises:
            SpaceClipError: A file cannot be read or is another than when it was listed, image and depth differ in size,
                the depth cannot be right, or the crop does not fit.
        """
        entry, reading = self.entries[index], self._reading
        depth_file, depth, most = self._depths[index], None, reading.max_pixels
        image = read_image(self._images[index], upright=depth_file is None, max_pixels=most)
        if depth_file is not None:
            depth = read_depth(
                depth_file,
                reading.depth_scale,
                nan_is_invalid=reading.nan_is_invalid,
                allow_far=reading.allow_far,
                max_pixels=most,
            )
            height, width = depth.shape
            if (height, width) != (image.height, image.width):
                turned = image_header(self._images[index], most).turned
                raise SpaceClipError(
                    f"{depth_file} is {height} x {width} but its image{' (EXIF turn)' if turned else ''} "
                    f"{image.height} x {image.width} (height x width): {aligned(turned=turned)}"
                )
        check_bytes(self._images[index], self._image_bytes[index])
        check_bytes(depth_file, self._depth_bytes[index])
        if reading.crop is not None:
            check_crop(reading.crop, [self._images[index]], [(image.height, image.width)])
            image, depth = reading.crop.cut_picture(image), None if depth is None else reading.crop.cut(depth)
        return Sample(entry.id, image, depth, entry.scene)

    def check(self) -> list[str]:
        """Read every header, compare sizes, then decode samples spread evenly.

        Raises:
            SpaceClipError: All problems of the first kind found are counted, and the first few named.
        """
        notes = self.check_headers()
        probed = spread(len(self.entries), _PROBED)
        read_all(probed, self.load, "probed sample", lambda index: self.entries[index].id)
        return notes

    def check_headers(self) -> list[str]:
        """Read every header, compare sizes of image, depth and crop; returns what should be known, a line each.

        Raises:
            SpaceClipError: As `check`.
        """
        sizes = [header.size for header in self._image_headers]
        native = [None if header is None else header.size for header in self._depth_headers]
        exif = {path for path, header in zip(self._images, self._image_headers, strict=True) if header.turned}
        check_aligned(self._images, sizes, native, exif)
        if self._reading.crop is not None:
            check_crop(self._reading.crop, self._images, sizes)
        files = zip(self._images, self._depths, self._image_headers, strict=True)
        turned = [(path.name, depth is None) for path, depth, header in files if header.turned]
        notes = []
        for without_depth, what in (
            (True, "turned upright"),
            (False, "read as stored, since depth is aligned to that"),
        ):
            if names := [name for name, found in turned if found is without_depth]:
                notes.append(f"{counted(len(names), 'image')} with an EXIF turn {what}: {first_few(names)}")
        return notes

    @cached_property
    def _image_headers(self) -> list[ImageHeader]:
        return read_image_headers(self._images, self._reading.max_pixels)

    @cached_property
    def _depth_headers(self) -> list[DepthHeader | None]:
        return read_depth_headers(self._depths, self._reading.depth_scale, self._reading.max_pixels)


def spread(count: int, most: int) -> list[int]:
    """Up to `most` indices below `count`, spread evenly from the first to the last.

    >>> spread(9, 3), spread(2, 8)
    ([0, 4, 8], [0, 1])
    """
    return sorted({round(index) for index in np.linspace(0, count - 1, most)}) if count else []


def check_bytes(path: Path | None, listed: int | None) -> None:
    """Refuse a file that is no longer the one that was listed: the store's fingerprint means that one.

    Raises:
        SpaceClipError: It is gone, or of another size.
    """
    try:
        found = None if path is None else path.stat().st_size
    except OSError as error:
        raise SpaceClipError(f"{path} is gone since it was listed ({error.strerror}); put it back") from error
    if found != listed:
        raise SpaceClipError(
            f"{path} is {found:,} bytes, {listed:,} when it was listed: it was replaced meanwhile; "
            "run the same command again, which lists the files anew"
        )


def check_crop(crop: Crop, images: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse images that a crop does not fit.

    Raises:
        SpaceClipError: All such images are counted, and the first few named.
    """
    small = [f"{path} {size[0]} x {size[1]}" for path, size in zip(images, sizes, strict=True) if not crop.holds(size)]
    if small:
        raise SpaceClipError(
            f"{counted(len(small), 'image')} smaller than the crop of {crop} (height x width): {first_few(small)}; "
            "turn the crop off, or leave them out"
        )


def _stamp(image_bytes: int | None, depth_bytes: int | None, reading: Reading) -> str:
    plain = f"{image_bytes}" if depth_bytes is None else f"{image_bytes}+{depth_bytes}/{reading.depth_scale or 1.0}"
    return plain if reading.crop is None else f"{plain} cropped to {reading.crop}"
