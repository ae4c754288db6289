"""Depth of many images into a folder: decode, compute and write at once, in bounded memory."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...cache import SpaceClipError, write_atomically
from ...extract import counted, read_image
from ..progress import progress
from .cameras import CameraChoice, said_of
from .files import FORMATS, encoded
from .inputs import Input, find_inputs
from .intrinsics import Intrinsics
from .model import SpaceClip
from .pool import Pool

RECORD = "predict.json"
_THREADS = min(os.cpu_count() or 1, 8)
_KEPT_PIXELS = 1_000_000
"""Larger pictures are decoded again when they are shown: those that wait for their turn would fill the memory."""
_PIXELS_AT_ONCE = 50_000_000
"""That are brought to their own size and encoded together; each takes some 20 bytes."""


@dataclass(frozen=True)
class Failed:
    """An image that has no depth, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return self.reason if str(self.path) in self.reason else f"{self.path}: {self.reason}"


@dataclass
class Done:
    """What became of the images.

    Attributes:
        written: Images whose outputs were written.
        whole: Images whose outputs were there.
        failed: Images that could not be used.
        cameras: Of how many of the others.
    """

    written: int = 0
    whole: int = 0
    failed: list[Failed] = field(default_factory=list)
    cameras: Counter[Intrinsics] = field(default_factory=Counter)


@dataclass(frozen=True)
class FolderPrediction:
    """The prediction of many images.

    Attributes:
        model: What predicts.
        inputs: The images.
        out: Folder of the outputs.
        kinds: Of `FORMATS`, what is written of each.
        flip_average: See `SpaceClip.predict`.
        camera: Likewise.
        rescale_focal: Likewise.
    """

    model: SpaceClip
    inputs: Sequence[Input]
    out: Path
    kinds: Sequence[str]
    flip_average: bool = False
    camera: CameraChoice = field(default_factory=CameraChoice)
    rescale_focal: bool = False

    @cached_property
    def _shows_image(self) -> bool:
        return any(FORMATS[kind].shows_image for kind in self.kinds)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the depth; a folder holds that of one such record."""
        chosen = {"flip_average": self.flip_average, "camera": asdict(self.camera), "rescale_focal": self.rescale_focal}
        return {**self.model.facts, **chosen}

    def files(self, one: Input) -> list[Path]:
        """The outputs of an image."""
        return [self.out / f"{one.name}{FORMATS[kind].suffix}" for kind in self.kinds]

    def left(self) -> list[Input]:
        """The images whose outputs are not whole, or older than they are.

        Raises:
            SpaceClipError: The folder holds outputs of other settings.
        """
        self._check_record()
        return [one for one in self.inputs if not self._is_whole(one)]

    def run(self, report: Callable[[int, int], None], say: Callable[[str], None]) -> Done:
        """Predict what is left.

        Args:
            report: Called with images done, and how many there are.
            say: Called with a line on each image that cannot be used.

        Raises:
            SpaceClipError: The folder holds outputs of other settings, or the model cannot be loaded.
            OSError: An output cannot be written.
        """
        left = self.left()
        done = Done(whole=len(self.inputs) - len(left))
        report(done.whole, len(self.inputs))
        if not left:
            return done
        with Pool(_THREADS, "decode") as readers, Pool(_THREADS, "write", _PIXELS_AT_ONCE) as writers:
            prepared = readers.map(self._prepare, left, 2 * self.model.batch_size)
            while batch := list(islice(prepared, self.model.batch_size)):
                failed = [one for one in batch if isinstance(one, Failed)]
                usable = [one for one in batch if not isinstance(one, Failed)]
                for one in failed:
                    say(str(one))
                if usable:
                    depths = self.model.decode(np.stack([one.pixels for one in usable]), flip_average=self.flip_average)
                    if not done.written:  # nothing is left behind where the encoder cannot be had
                        write_atomically(self.out / RECORD, json.dumps(self.settings, indent=1).encode() + b"\n")
                    for one, depth in zip(usable, depths, strict=True):
                        writers.submit(self._write, one, depth, weight=math.prod(one.camera.size))
                done.failed += failed
                done.cameras.update(one.camera for one in usable)
                done.written += len(usable)
                report(done.whole + done.written + len(done.failed), len(self.inputs))
        return done

    def _prepare(self, one: Input) -> "_Prepared | Failed":
        try:
            picture = read_image(one.path, upright=True)
            camera = self.camera.of(picture)
            factor = self.model.rescaling(camera) if self.rescale_focal else 1.0
        except SpaceClipError as error:
            return Failed(one.path, str(error))
        image = np.asarray(picture) if self._shows_image and picture.width * picture.height <= _KEPT_PIXELS else None
        return _Prepared(one, self.model.prepare(picture), image, camera, factor)

    def _write(self, one: "_Prepared", depth: Tensor) -> None:
        image = one.image
        if image is None and self._shows_image:
            image = np.asarray(read_image(one.input.path, upright=True))
        elif image is None:
            image = np.broadcast_to(np.uint8(0), (*one.camera.size, 3))
        found = self.model.depth_map(image, depth, one.camera, one.factor)
        for kind, file in zip(self.kinds, self.files(one.input), strict=True):
            write_atomically(file, encoded(found, kind))

    def _is_whole(self, one: Input) -> bool:
        try:
            taken = one.path.stat().st_mtime_ns
            return all(file.stat().st_mtime_ns >= taken for file in self.files(one))
        except OSError:
            return False

    def _check_record(self) -> None:
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


@dataclass(frozen=True)
class _Prepared:
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


def predict_folder(
    given: Sequence[str],
    checkpoint: str,
    out: Path,
    kinds: Sequence[str],
    *,
    revision: str | None = None,
    backbone: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    flip_average: bool = False,
    camera: CameraChoice | None = None,
    rescale_focal: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> Done:
    """Predict images of files, folders and patterns into a folder.

    Args:
        given: See `find_inputs`.
        checkpoint: Folder, or hub id.
        out: Folder for the outputs.
        kinds: Of `FORMATS`.
        revision: Of the checkpoint on the hub.
        backbone: See `SpaceClip.from_pretrained`.
        device: Likewise.
        batch_size: Images computed together; chosen by the device if not given.
        flip_average: See `SpaceClip.predict`.
        camera: Likewise.
        rescale_focal: Likewise.
        dry_run: Only say what would be done.
        say: Called with each line that a user should know.

    Raises:
        SpaceClipError: There is no image, no checkpoint or no encoder, or the folder holds something else.
        OSError: An output cannot be written.
    """
    inputs = find_inputs(given, out)
    model = SpaceClip.from_pretrained(checkpoint, revision=revision, backbone=backbone, device=device)
    model.batch_size = batch_size or model.batch_size
    job = FolderPrediction(model, inputs, out, kinds, flip_average, camera or CameraChoice(), rescale_focal)
    images = counted(len(inputs), "image")
    if dry_run:
        left = len(job.left())
        say(f"{out}: {images}, {left} to do; {', '.join(kinds)} of each, on {model.device}")
        return Done(whole=len(inputs) - left)
    if rescale_focal and model.training_camera is None:
        model.rescaling(Intrinsics.guessed((1, 1)))  # says why not
    with progress("predict", "images") as report:
        done = job.run(report, say)
    first = job.files(inputs[0])[0]
    whole = f", {done.whole} were there" if done.whole else ""
    failed = f", {len(done.failed)} could not be used" if done.failed else ""
    for line in said_of(done.cameras, model.training_camera, rescaled=rescale_focal):
        say(line)
    say(f"{out}: {done.written} of {images} written ({', '.join(kinds)}){whole}{failed}; the first: {first}")
    return done
