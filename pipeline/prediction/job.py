"""What is predicted into a folder, and how: the same of all its images and videos."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...cache import SpaceClipError, write_atomically
from .cameras import CameraChoice, camera_of
from .depth_map import DepthMap
from .files import FILM_SUFFIX, FORMATS, TABLE_SUFFIX, VIDEO, encoded
from .inputs import Input
from .intrinsics import Intrinsics
from .model import SpaceClip
from .record import Record, Version, version_of

THREADS = min(os.cpu_count() or 1, 8)
_LONGEST_NAME = 225
"""Bytes; file systems take 255, and an output has up to 29 more, of which some are its own only until it is whole."""


@dataclass(frozen=True)
class Prepared:
    """An image on its way.

    Attributes:
        input: What it is.
        version: Of its file.
        pixels: [S, S, 3] uint8, as the encoder sees it.
        image: [H, W, 3] uint8, of its own size; None where it is not shown, or large.
        camera: What it was taken with.
        factor: What its depth is multiplied by.
    """

    input: Input
    version: Version
    pixels: NDArray[np.uint8]
    image: NDArray[np.uint8] | None
    camera: Intrinsics
    factor: float

    @property
    def place(self) -> str:
        """What the names of its outputs have between the input's and their suffixes."""
        return ""


Each = TypeVar("Each", bound=Prepared)


@dataclass(frozen=True)
class Job:
    """A prediction into a folder.

    Attributes:
        model: What predicts.
        out: Folder of the outputs.
        kinds: What is written: of `FORMATS`, and `VIDEO`.
        flip_average: See `SpaceClip.predict`.
        camera: Likewise.
        rescale_focal: Likewise.
        smooth: Of videos, see `TemporalFilter`.
        frames: Of a camera, how many are taken.
    """

    model: SpaceClip
    out: Path
    kinds: Sequence[str]
    flip_average: bool = False
    camera: CameraChoice = field(default_factory=CameraChoice)
    rescale_focal: bool = False
    smooth: float = 0.0
    frames: int | None = None

    @cached_property
    def image_kinds(self) -> list[str]:
        """What is written of each image, and of each frame of a video."""
        return [kind for kind in self.kinds if kind != VIDEO]

    @cached_property
    def video_endings(self) -> list[str]:
        """What the names of the outputs of a whole video end in."""
        return [TABLE_SUFFIX, *([FILM_SUFFIX] if VIDEO in self.kinds else [])]

    @cached_property
    def shows_image(self) -> bool:
        """Whether some of it holds the image itself."""
        return any(FORMATS[kind].shows_image for kind in self.image_kinds)

    @cached_property
    def shows_points(self) -> bool:
        """Whether some of it holds points."""
        return any(FORMATS[kind].shows_points for kind in self.image_kinds)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the depth; a folder holds that of one such record."""
        model = self.model
        settings = {
            **model.facts,
            "encoder": model.info.backbone,
            "preprocessing": model.info.preprocessing,
            "precision": model.precision,
            "flip_average": self.flip_average,
            "camera": asdict(self.camera),
            "rescale_focal": self.rescale_focal,
            "smooth": self.smooth,
        }
        if self.rescale_focal:
            settings["training_camera"] = str(model.training_camera)
        return json.loads(json.dumps(settings))

    @cached_property
    def record(self) -> Record:
        """What the folder holds."""
        return Record(self.out)

    def endings(self, place: str = "") -> list[str]:
        """What the names of the outputs of an image or frame end in, after that of the input."""
        return [f"{place}{FORMATS[kind].suffix}" for kind in self.image_kinds]

    def camera_of(self, picture: Image.Image) -> tuple[Intrinsics, float]:
        """The camera of an image, and what its depth is multiplied by.

        Raises:
            SpaceClipError: It cannot be of the camera given, or not be rescaled.
        """
        camera = camera_of(picture, self.camera, self.model.training_camera)
        return camera, self.model.rescaling(camera) if self.rescale_focal else 1.0

    def depths(self, prepared: Iterable[Each], batch_size: int) -> Iterator[tuple[Each, Tensor]]:
        """Each image with its depth [h, w] in metres at the decoder's own size."""
        prepared = iter(prepared)
        while batch := list(islice(prepared, batch_size)):
            pixels = np.stack([one.pixels for one in batch])
            yield from zip(batch, self.model.decode(pixels, flip_average=self.flip_average), strict=True)

    def depth_map(self, one: Prepared, depth: Tensor, image: NDArray[np.uint8] | None = None) -> DepthMap:
        """The depth of an image at its own size."""
        if image is None:  # nothing that is written shows it
            image = np.broadcast_to(np.uint8(0), (*one.camera.size, 3))
        return self.model.depth_map(image, depth, one.camera, one.factor)

    def check_name(self, one: Input) -> None:
        """Refuse an input whose outputs no file system can name.

        Raises:
            SpaceClipError: Its name is too long.
        """
        if (length := len(os.fsencode(PurePosixPath(one.name).name))) > _LONGEST_NAME:
            raise SpaceClipError(
                f"{one.path}: its name has {length} bytes, and with their endings its outputs' would be too long: "
                f"rename it to at most {_LONGEST_NAME}"
            )

    def write(self, found: DepthMap, one: Prepared) -> None:
        """Write the outputs of an image or frame.

        Raises:
            OSError: One cannot be written.
        """
        name, endings = one.input.name, self.endings(one.place)
        self.record.add(name, endings, one.version, None if one.place else {**asdict(one.camera), "factor": one.factor})
        for kind, ending in zip(self.image_kinds, endings, strict=True):
            write_atomically(self.out / f"{name}{ending}", encoded(found, kind))

    def check(self, inputs: Sequence[Input]) -> None:
        """Refuse a folder that holds outputs of other settings, or files that are no outputs and would be overwritten.

        Raises:
            SpaceClipError: Names what differs, or the file.
        """
        held, wanted = self.record.settings, self.settings
        if held is not None and held != wanted:
            differ = next(name for name in {**wanted, **held} if held.get(name) != wanted.get(name))
            raise SpaceClipError(
                f"{self.out} holds depth of other settings ({differ} {held.get(differ)} there, {wanted.get(differ)} "
                "now): give another --out, or delete that folder"
            )
        for one in inputs:
            if source := self.record.source(one.name, version_of(one.path)):
                raise SpaceClipError(
                    f"{self.out / one.name} is the depth of {source}, and would become that of {one.path}: give "
                    "another --out, or predict the folder that both lie in"
                )
            endings = [*self.video_endings, *self.endings("/000001")] if one.is_video else self.endings()
            if file := self.record.astray(one.name, endings):
                raise SpaceClipError(
                    f"{file} would be written through a symbolic link in {self.out}: give another --out, or move the "
                    "link away"
                )
            if file := self.record.foreign(one.name, endings):
                raise SpaceClipError(
                    f"{file} would be overwritten, and is no output of predict by {self.record.file}: give another "
                    "--out, or move it away"
                )
