"""Whether depth is metres for a camera: the one of the training beside the one of the photograph."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from numpy.typing import ArrayLike
from PIL import Image

from ...cache import CameraFacts, SpaceClipError
from ...extract import counted, focal_35mm
from .intrinsics import GUESSED, Intrinsics

_FILM_DIAGONAL = math.hypot(36, 24)
"""Millimetres; what is said of 35 mm film is of the diagonal field of view."""
_TOLERANCE = 1.05
"""Factor by which a focal length may lie outside those of the training and still pass for one of them."""


@dataclass(frozen=True)
class CameraChoice:
    """What a user says of the camera; what is not said comes from the photograph's EXIF data, or is guessed.

    `CameraChoice(fov_x=78)` fits photographs of any size.

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
            raise SpaceClipError("both a focal length (fx) and a field of view (fov_x) are given: keep one of them")
        others = [name for name in ("fy", "cx", "cy") if getattr(self, name) is not None]
        if others and self.fx is None:
            raise SpaceClipError(f"{others[0]} is given without fx: give the focal length too")
        for name in ("cx", "cy"):
            centre = getattr(self, name)
            if centre is not None and not -0.5 <= centre < math.inf:
                raise SpaceClipError(f"{name} is {centre:g}: expected the principal point, in pixels of the image")
        if self.fov_x is not None:
            Intrinsics.from_fov((1, 1), self.fov_x)
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
            return Intrinsics.from_fov(size, self.fov_x)
        if millimetres := focal_35mm(picture):
            focal = millimetres / _FILM_DIAGONAL * math.hypot(*size)
            return Intrinsics.centred(size, focal, origin=f"by its EXIF data ({millimetres} mm on 35 mm film)")
        return Intrinsics.guessed(size)


def camera_of(
    picture: Image.Image,
    given: "CameraChoice | Intrinsics | ArrayLike | None" = None,
    training: "TrainingCamera | None" = None,
) -> Intrinsics:
    """The camera of a picture, by what a user says of it.

    Args:
        picture: Whose EXIF data is asked where nothing is given.
        given: A choice; or `Intrinsics`, (fx, fy, cx, cy) or a matrix [3, 3], in pixels of this picture.
        training: What is guessed where nothing is known.

    Raises:
        SpaceClipError: It is that of no camera, or of another image size.
    """
    if given is None or isinstance(given, CameraChoice):
        found = (given or CameraChoice()).of(picture)
        return training.guess(found.size) if training and found.is_guess else found
    return Intrinsics.of((picture.height, picture.width), given)


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

        The encoder sees the whole frame at one size, and in that frame a thing has the size of one so much nearer:
        by the ratio of focal length over width, and by that over height, which differ where a frame has another shape.
        Of the two it is the geometric mean, so that a camera that is turned by 90 degrees stays the same.
        """
        return self._magnification(camera) / self._taught[1]

    def guess(self, size: tuple[int, int]) -> Intrinsics:
        """The camera to guess for an image of this size: the one whose factor is 1."""
        return Intrinsics.centred(size, self._taught[1] * math.sqrt(math.prod(size)), origin=GUESSED)

    def is_like(self, camera: Intrinsics) -> bool:
        """Whether a camera magnifies as one of those of the training, to 5 %."""
        least, _, greatest = self._taught
        return least / _TOLERANCE <= self._magnification(camera) <= greatest * _TOLERANCE

    @staticmethod
    def _magnification(camera: Intrinsics) -> float:
        return math.sqrt(camera.fx * camera.fy / math.prod(camera.size))

    @property
    def _taught(self) -> list[float]:
        return [focal / math.sqrt(math.prod(self.facts["size"])) for focal in self.facts["focal"]]

    @property
    def fov(self) -> str:
        """Horizontal fields of view in words."""
        width, (least, _, greatest) = self.facts["size"][1], self.facts["focal"]
        narrow, wide = (math.degrees(2 * math.atan(width / 2 / focal)) for focal in (greatest, least))
        return f"{narrow:.1f} degrees" if greatest < 1.001 * least else f"{narrow:.1f} to {wide:.1f} degrees"

    def __str__(self) -> str:
        (height, width), (least, focal, greatest) = self.facts["size"], self.facts["focal"]
        spread = "" if greatest < 1.001 * least else f" ({least:.0f} to {greatest:.0f})"
        return f"fx {focal:.0f}{spread} at {height} x {width}, a field of view of {self.fov}"


def said_of(
    cameras: Counter[Intrinsics], training: TrainingCamera | None, *, rescaled: bool, drawn: bool = False
) -> list[str]:
    """What should be known of the cameras of the images that were predicted, a line each.

    Args:
        cameras: Of how many images.
        training: That of the training.
        rescaled: Whether depth was multiplied by its factor.
        drawn: Whether points were written, which need a camera in any case.
    """
    known = [camera for camera in cameras if not camera.is_guess]
    taught = training.fov if training else "which is not recorded"
    lines = []
    if guesses := {camera: images for camera, images in cameras.items() if images and camera.is_guess}:
        fields = dict.fromkeys(f"{of(camera.fov_x for camera in guesses):.3g}" for of in (min, max))
        points = f"; points are drawn for {' to '.join(fields)} degrees" if drawn else ""
        lines.append(
            f"camera: not known of {counted(sum(guesses.values()), 'image')}: depth is metres if its field of view is "
            f"that of the training, {taught}{points}; say it by --fov-x or --fx"
        )
    if other := said_of_unlike(cameras, training, rescaled=rescaled):
        lines.append(f"{other} (--rescale-focal)")
    elif known:
        compared = "like that" if training else "depth is metres if it is that"
        lines.append(f"camera: {_seen_by(known)}: {compared} of the training, {taught}")
    return [*lines, *said_of_doubtful(cameras)]


def said_of_doubtful(cameras: Iterable[Intrinsics]) -> list[str]:
    """What speaks against cameras that were given, a line each."""
    return [f"camera: {doubt}" for doubt in dict.fromkeys(camera.doubt for camera in cameras) if doubt]


def said_of_unlike(cameras: Iterable[Intrinsics], training: TrainingCamera | None, *, rescaled: bool = False) -> str:
    """What should be known where depth is no metres, or was made metres, since the lens is another; else nothing."""
    if training is None:
        return ""
    known = dict.fromkeys(camera for camera in cameras if not camera.is_guess)
    unlike = [camera for camera in known if rescaled or not training.is_like(camera)]
    if not unlike:
        return ""
    factors = sorted(training.factor(camera) for camera in unlike)
    span = f"{factors[0]:.3f}" if factors[-1] - factors[0] < 0.0005 else f"{factors[0]:.3f} to {factors[-1]:.3f}"
    wrong = "too large" if factors[-1] < 1 else "too small" if factors[0] > 1 else "wrong"
    done = f"were multiplied by {span}" if rescaled else f"are {wrong}: times {span} they are metres"
    return f"camera: {_seen_by(unlike)}: that of the training is {training.fov}, so depths {done}"


def _seen_by(cameras: Sequence[Intrinsics]) -> str:
    others = f", and {counted(len(cameras) - 1, 'other')}" if len(cameras) > 1 else ""
    return f"field of view {cameras[0].fov_x:.1f} degrees ({cameras[0].origin}{others})"
