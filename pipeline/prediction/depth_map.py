"""The depth of one image."""

import io
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ImageShow

from ...cache import SpaceClipError, write_atomically
from .files import encoded, format_of
from .intrinsics import Intrinsics
from .rendering import side_by_side


@dataclass(frozen=True, eq=False, repr=False)
class DepthMap:
    """Depth along the optical axis at an image's own size.

    Attributes:
        depth: [H, W] float32, metres.
        image: [H, W, 3] uint8 RGB, upright.
        depth_range: The depths between which it is valid, metres: those of the training, times `factor`.
        intrinsics: The image's camera; None where it is not known.
        factor: What depth was multiplied by for another lens than that of the training.
        facts: What made it, by name; goes into files that have room for it.
        colours: Depths in metres that the colours of its pictures span; None for nearly all of its own.
    """

    depth: NDArray[np.float32]
    image: NDArray[np.uint8]
    depth_range: tuple[float, float]
    intrinsics: Intrinsics | None = None
    factor: float = 1.0
    facts: Mapping[str, str] = field(default_factory=dict)
    colours: tuple[float, float] | None = None

    unit = "metres"

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """[H, W] whether the depth lies within `depth_range`: beyond, the decoder was never taught."""
        low, high = self.depth_range
        return (self.depth > low) & (self.depth < high)

    @property
    def camera(self) -> Intrinsics:
        """The image's camera, or a guess that says so."""
        height, width = self.depth.shape
        return self.intrinsics or Intrinsics.guessed((height, width))

    def points(self, intrinsics: "Intrinsics | ArrayLike | None" = None) -> NDArray[np.float32]:
        """The point [N, 3] in metres of each valid pixel, row by row: x right, y down, z forward.

        `image[valid]` are their colours.

        Args:
            intrinsics: (fx, fy, cx, cy) in pixels, a matrix [3, 3], or `Intrinsics`; by default `camera`. There is a
                warning where they can hardly be meant (see `Intrinsics.doubt`).

        Raises:
            SpaceClipError: They are of no camera, or of another image size.
        """
        height, width = self.depth.shape
        camera = self.camera if intrinsics is None else Intrinsics.of((height, width), intrinsics)
        if intrinsics is not None and camera.doubt:
            warnings.warn(camera.doubt, stacklevel=2)
        return camera.points(self.depth)[self.valid]

    def save(self, path: str | Path, kind: str | None = None) -> None:
        """Write it to a file, whole or not at all.

        Args:
            path: The file.
            kind: `npy`, `png` (coloured), `png16`, `ply`, `glb` or `side`; by default by the file's ending: those of
                `spaceclip predict` (`.depth16.png`, `.side.png`), any other `.png` being the coloured picture.

        Raises:
            SpaceClipError: The ending is of no format.
            OSError: It cannot be written.
        """
        write_atomically(Path(path), encoded(self, kind or format_of(Path(path))))

    def show(self) -> None:
        """Open image and depth side by side in the system's viewer.

        Raises:
            SpaceClipError: There is no display.
        """
        headless = sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
        if headless or not ImageShow.show(side_by_side(self)):
            raise SpaceClipError(
                "there is no display to show it on: save it to a .png, or give it as the last line of a notebook's cell"
            )

    def _repr_jpeg_(self) -> bytes:
        """In a notebook, which keeps it: a ninth of the bytes of the png."""
        content = io.BytesIO()
        side_by_side(self).save(content, "jpeg", quality=85)
        return content.getvalue()

    def __repr__(self) -> str:
        height, width = self.depth.shape
        near, middle, far = np.quantile(self.depth, (0, 0.5, 1))
        low, high = self.depth_range
        return (
            f"DepthMap {height} x {width}, {near:.2f} to {far:.2f} {self.unit}, median {middle:.2f}\n"
            f"{self.valid.mean():.0%} valid: within the {low:.3g} to {high:.3g} m of its training"
        )
