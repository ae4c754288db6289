"""What is predicted into a folder, and how: the same of all its images and videos."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...cache import SpaceClipError, write_atomically
from .cameras import CameraChoice
from .depth_map import DepthMap
from .files import FORMATS, VIDEO, encoded
from .inputs import Input
from .intrinsics import Intrinsics
from .model import SpaceClip

RECORD = "predict.json"
THREADS = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True)
class Prepared:
    """An image on its way.

    Attributes:
        input: What it is.
        pixels: [S, S, 3] uint8, as the encoder sees it.
        image: [H, W, 3] uint8, of its own size; None where it is not shown, or large.
        camera: What it was taken with.
        factor: What its depth is multiplied by.
    """

    input: Input
    pixels: NDArray[np.uint8]
    image: NDArray[np.uint8] | None
    camera: Intrinsics
    factor: float


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
    def shows_image(self) -> bool:
        """Whether some of it holds the image itself."""
        return any(FORMATS[kind].shows_image for kind in self.image_kinds)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the depth; a folder holds that of one such record."""
        chosen = {"flip_average": self.flip_average, "camera": asdict(self.camera), "rescale_focal": self.rescale_focal}
        return {**self.model.facts, **chosen, **({"smooth": self.smooth} if self.smooth else {})}

    def files(self, name: str) -> list[Path]:
        """The outputs of an image or frame."""
        return [self.out / f"{name}{FORMATS[kind].suffix}" for kind in self.image_kinds]

    def camera_of(self, picture: Image.Image) -> tuple[Intrinsics, float]:
        """The camera of an image, and what its depth is multiplied by.

        Raises:
            SpaceClipError: It cannot be of the camera given, or not be rescaled.
        """
        camera = self.camera.of(picture)
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

    def write(self, found: DepthMap, name: str) -> None:
        """Write the outputs of an image or frame.

        Raises:
            OSError: One cannot be written.
        """
        for kind, file in zip(self.image_kinds, self.files(name), strict=True):
            write_atomically(file, encoded(found, kind))

    def is_whole(self, path: Path, files: Iterable[Path]) -> bool:
        """Whether all outputs are there, and none is older than what it was made of."""
        try:
            taken = path.stat().st_mtime_ns
            return all(file.stat().st_mtime_ns >= taken for file in files)
        except OSError:
            return False

    def begin(self) -> None:
        """Note in the folder what its depth is of."""
        write_atomically(self.out / RECORD, json.dumps(self.settings, indent=1).encode() + b"\n")

    def check(self) -> None:
        """Refuse a folder that holds outputs of other settings.

        Raises:
            SpaceClipError: Names what differs.
        """
        file = self.out / RECORD
        try:
            held = json.loads(file.read_bytes())
        except FileNotFoundError:
            return
        except (ValueError, RecursionError):
            held = None
        wanted = self.settings
        if not isinstance(held, Mapping):
            raise SpaceClipError(f"{file}: is no record of a prediction; give another --out, or delete it")
        if held != wanted:
            differ = next(name for name in {**wanted, **held} if held.get(name) != wanted.get(name))
            raise SpaceClipError(
                f"{self.out} holds depth of other settings ({differ} {held.get(differ)} there, {wanted.get(differ)} "
                "now): give another --out, or delete that folder"
            )
