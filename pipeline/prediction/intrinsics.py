"""Pinhole cameras: from a pixel and its depth to a point."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...cache import SpaceClipError

GUESSED, GUESSED_FIELD = "guessed", 60.0
"""Horizontal field of view in degrees that is guessed where nothing is known: about that of a phone's main camera."""
_LIKELY_FIELDS = (2.0, 150.0)
"""Likewise: telescopes have less, fisheyes more."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion, in pixels; the centre of the first pixel is (0, 0), as in OpenCV.

    Attributes:
        fx: Focal length across.
        fy: Focal length down.
        cx: Column of the principal point.
        cy: Row of the principal point.
        size: (height, width) of its images.
        origin: How it is known.

    Raises:
        SpaceClipError: A focal length is not above 0, or the principal point is outside the image.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int]
    origin: str = "given"

    def __post_init__(self) -> None:
        for name, focal in (("fx", self.fx), ("fy", self.fy)):
            if not 0 < focal < math.inf:
                raise SpaceClipError(f"{name} is {focal:g}: expected a focal length in pixels, a number above 0")
        for name, centre, length in (("cx", self.cx, self.size[1]), ("cy", self.cy, self.size[0])):
            if not -0.5 <= centre <= length - 0.5:
                raise SpaceClipError(
                    f"{name} is {centre:g}, outside the image of {length} pixels: expected the principal point of a "
                    "camera, in pixels of this image"
                )

    @classmethod
    def centred(
        cls,
        size: tuple[int, int],
        fx: float,
        fy: float | None = None,
        cx: float | None = None,
        cy: float | None = None,
        *,
        origin: str = "given",
    ) -> Self:
        """What is not given follows: square pixels, and the principal point in the middle of the image."""
        height, width = size
        return cls(
            fx,
            fx if fy is None else fy,
            (width - 1) / 2 if cx is None else cx,
            (height - 1) / 2 if cy is None else cy,
            size,
            origin,
        )

    @classmethod
    def from_fov(cls, size: tuple[int, int], fov_x: float, *, origin: str = "given") -> Self:
        """From the horizontal field of view in degrees.

        Raises:
            SpaceClipError: It is not between 0 and 180.
        """
        if not 0 < fov_x < 180:
            raise SpaceClipError(f"fov_x is {fov_x:g}: expected a horizontal field of view between 0 and 180 degrees")
        return cls.centred(size, size[1] / 2 / math.tan(math.radians(fov_x) / 2), origin=origin)

    @classmethod
    def guessed(cls, size: tuple[int, int]) -> Self:
        """Where nothing is known."""
        return cls.from_fov(size, GUESSED_FIELD, origin=GUESSED)

    @classmethod
    def of(cls, size: tuple[int, int], given: "Intrinsics | ArrayLike") -> Self:
        """From a camera, (fx, fy, cx, cy), or a matrix [3, 3] as OpenCV's.

        Args:
            size: (height, width) of the image, pixels.
            given: In pixels of this image.

        Raises:
            SpaceClipError: It is none of these, or of another image size.
        """
        if isinstance(given, Intrinsics):
            if given.size != size:
                raise SpaceClipError(
                    f"these intrinsics are of images of {_by(given.size)}, this one is {_by(size)} (height x width): "
                    "scale them"
                )
            return cls(given.fx, given.fy, given.cx, given.cy, size, given.origin)
        expected = "expected (fx, fy, cx, cy) in pixels or a matrix [3, 3]"
        try:
            values = np.asarray(given, float)
        except (TypeError, ValueError, OverflowError) as error:
            raise SpaceClipError(f"intrinsics of type {type(given).__name__}: {expected}") from error
        if values.shape == (3, 3):
            values = values[[0, 1, 0, 1], [0, 1, 2, 2]]
        if values.shape != (4,):
            raise SpaceClipError(f"intrinsics of shape {list(values.shape)}: {expected}")
        fx, fy, cx, cy = values.tolist()
        return cls(fx, fy, cx, cy, size)

    @property
    def is_guess(self) -> bool:
        """Whether nothing is known of it."""
        return self.origin == GUESSED

    @property
    def fov_x(self) -> float:
        """Horizontal field of view in degrees."""
        return math.degrees(2 * math.atan(self.size[1] / 2 / self.fx))

    @property
    def doubt(self) -> str:
        """Why it is hardly the camera of its images; empty where nothing speaks against it."""
        for name, centre, length in (("cx", self.cx, self.size[1]), ("cy", self.cy, self.size[0])):
            if abs(centre - (length - 1) / 2) > length / 4:
                return f"{name} {centre:g} is far from the middle of {length} pixels: of another image size?"
        narrow, wide = _LIKELY_FIELDS
        if not narrow <= self.fov_x <= wide:
            return (
                f"fx {self.fx:g} of {self.size[1]} pixels is a field of view of {self.fov_x:.3g} degrees "
                f"({self.origin}): hardly that of a camera without distortion; check fx or fov_x"
            )
        return ""

    def points(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [H, W, 3] in metres of a depth map [H, W] along the optical axis: x right, y down, z forward."""
        rows, columns = np.indices(self.size, sparse=True)
        points = np.empty((*depth.shape, 3), np.float32)
        points[..., 0] = (columns - self.cx) / self.fx * depth
        points[..., 1] = (rows - self.cy) / self.fy * depth
        points[..., 2] = depth
        return points

    def __str__(self) -> str:
        return f"fx {self.fx:.1f}, {self.fov_x:.1f} degrees across, {self.origin}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
