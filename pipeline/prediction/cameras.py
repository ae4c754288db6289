"""Whether depth is metres for a camera: the one of the training beside the one of the photograph."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from PIL import Image

from ...cache import CameraFacts, SpaceClipError
from ...extract import counted, focal_35mm
from .intrinsics import GUESSED_FIELD, Intrinsics

_FILM_DIAGONAL = math.hypot(36, 24)
"""Millimetres; what is said of 35 mm film is of the diagonal field of view."""
_TOLERANCE = 1.05
"""Factor by which a focal length may lie outside those of the training and still pass for one of them."""


@dataclass(frozen=True)
class CameraChoice:
    """What a user says of the camera; what is not said comes from the photograph's EXIF data, or is guessed.

    Attributes:
        fx: Focal length across, in pixels of the photograph.
        fy: Focal length down; `fx` if not given.
        cx: Column of the principal point; the middle if not given.
        cy: Row of the principal point; the middle if not given.
        fov_x: Horizontal field of view in degrees, in place of `fx`.

    Raises:
        SpaceClipError: Both are given, or the others without `fx`, or they are those of no camera.
    """

    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    fov_x: float | None = None

    def __post_init__(self) -> None:
        if self.fov_x is not None and self.fx is not None:
            raise SpaceClipError("both a focal length (--fx) and a field of view (--fov-x) are given: keep one of them")
        others = [name for name in ("fy", "cx", "cy") if getattr(self, name) is not None]
        if others and self.fx is None:
            raise SpaceClipError(f"--{others[0]} is given without --fx: give the focal length too")
        if self.fov_x is not None:
            Intrinsics.of_field((1, 1), self.fov_x)
        if self.fx is not None:
            Intrinsics.centred((1, 1), self.fx, self.fy)

    def of(self, picture: Image.Image) -> Intrinsics:
        """The camera of a picture.

        Raises:
            SpaceClipError: The principal point lies outside it.
        """
        size = (picture.height, picture.width)
        if self.fx is not None:
            return Intrinsics.centred(size, self.fx, self.fy, self.cx, self.cy)
        if self.fov_x is not None:
            return Intrinsics.of_field(size, self.fov_x)
        if millimetres := focal_35mm(picture):
            focal = millimetres / _FILM_DIAGONAL * math.hypot(*size)
            return Intrinsics.centred(size, focal, origin=f"by its EXIF data ({millimetres} mm on 35 mm film)")
        return Intrinsics.guessed(size)


@dataclass(frozen=True)
class TrainingCamera:
    """The camera of the images with depth that a decoder was trained on.

    Attributes:
        facts: What its record says of it.
    """

    facts: CameraFacts

    @classmethod
    def of(cls, cameras: Sequence[CameraFacts]) -> Self | None:
        """That of most images; None where none is known."""
        return cls(max(cameras, key=lambda facts: facts["images"])) if cameras else None

    def factor(self, camera: Intrinsics) -> float:
        """By how much farther things are than the decoder says, as the pinhole camera has it.

        The encoder sees the whole frame at one size, and in that frame a thing has the size of one so much nearer.
        """
        return camera.fx / camera.size[1] * self.facts["size"][1] / self.facts["focal"][1]

    def is_like(self, camera: Intrinsics) -> bool:
        """Whether a camera's field of view is one of those of the training, to 5 %."""
        least, _, greatest = (focal / self.facts["size"][1] for focal in self.facts["focal"])
        return least / _TOLERANCE <= camera.fx / camera.size[1] <= greatest * _TOLERANCE

    def __str__(self) -> str:
        (height, width), (least, focal, greatest) = self.facts["size"], self.facts["focal"]
        across = Intrinsics.centred((height, width), focal).fov_x
        spread = "" if greatest < 1.001 * least else f" ({least:.0f} to {greatest:.0f})"
        return f"fx {focal:.0f}{spread} at {height} x {width}, {across:.1f} degrees across"


def said_of(cameras: Counter[Intrinsics], training: TrainingCamera | None, *, rescaled: bool) -> list[str]:
    """What should be known of the cameras of the images that were predicted, a line each.

    Args:
        cameras: Of how many images.
        training: That of the training.
        rescaled: Whether depth was multiplied by its factor.
    """
    known = [camera for camera in cameras if not camera.is_guess]
    lines = []
    if guesses := sum(images for camera, images in cameras.items() if camera.is_guess):
        lines.append(
            f"camera: not known of {counted(guesses, 'image')}, {GUESSED_FIELD:g} degrees across guessed for "
            f"points; give --fx or --fov-x; the training's: {training or 'not recorded'}"
        )
    if known and training is None:
        lines.append(f"camera: {known[0]}; that of the training is not recorded: whether this is metres is not known")
    if training is None:
        return lines
    unlike = [camera for camera in known if not training.is_like(camera)]
    if known and not unlike and not rescaled:
        lines.append(f"camera: {known[0]}; like that of the training: {training}")
    changed = known if rescaled else unlike
    if not changed:
        return lines
    factors = sorted(training.factor(camera) for camera in changed)
    span = f"{factors[0]:.3f}" if factors[-1] - factors[0] < 0.0005 else f"{factors[0]:.3f} to {factors[-1]:.3f}"
    what = "depth was multiplied by" if rescaled else "by the pinhole camera depth is wrong by a factor of"
    remedy = "(--rescale-focal)" if rescaled else "(--rescale-focal multiplies by it)"
    lines.append(f"camera: {changed[0]}; that of the training: {training}; {what} {span} {remedy}")
    return lines
