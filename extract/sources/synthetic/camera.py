"""Pinhole cameras, and where they stand in scenes."""

from dataclasses import dataclass

import numpy as np

from .materials import Array, Spot
from .rays import Bundle
from .shading import Kind, Scene
from .solids import dot

_CLEARANCE: dict[Kind, float] = {"room": 0.5, "street": 1.3}  # metres in front of the lens
_TRIES = 40

FIELD = 60.0, 70.0
"""Least and greatest horizontal field of view, degrees; all between are as likely."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; lengths are metres, angles radians."""

    position: Spot
    yaw: float  # from world x towards world y
    pitch: float  # positive up
    roll: float  # about the optical axis, positive clockwise as the camera sees it
    field: float  # horizontal field of view
    height: int  # image rows
    width: int  # image columns

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return focal_of(self.field, self.width)

    @property
    def axes(self) -> Array:
        """Unit vectors to the right, downwards and forwards as rows, [3, 3]."""
        cos_yaw, sin_yaw, cos_pitch, sin_pitch = (f(a) for a in (self.yaw, self.pitch) for f in (np.cos, np.sin))
        forward = np.array([cos_yaw * cos_pitch, sin_yaw * cos_pitch, sin_pitch])
        level = np.array([sin_yaw, -cos_yaw, 0])
        plumb = np.cross(forward, level)
        right = np.cos(self.roll) * level + np.sin(self.roll) * plumb
        down = np.cos(self.roll) * plumb - np.sin(self.roll) * level
        return np.stack([right, down, forward]).astype(np.float32)

    def rays(self, rows: Array, columns: Array) -> Array:
        """Unit directions [3, N] through image positions [N]; the middle of the first pixel is (0.5, 0.5)."""
        x = (columns - self.width / 2) / self.focal
        y = (rows - self.height / 2) / self.focal
        directions = self.axes.T @ np.stack([x, y, np.ones_like(x)]).astype(np.float32)
        return directions / np.sqrt(dot(directions, directions))


def focal_of(field: float, width: int) -> float:
    """Focal length in pixels of a horizontal field of view in radians."""
    return width / 2 / float(np.tan(field / 2))


def place_camera(scene: Scene, height: int, width: int, rng: np.random.Generator) -> Camera:
    """A camera of `height` x `width` pixels: the first of some tries that has nothing right before the lens."""
    camera = _aim(scene, height, width, rng)
    for _ in range(_TRIES):
        if _sees_clearly(camera, scene):
            break
        camera = _aim(scene, height, width, rng)
    return camera


def _aim(scene: Scene, height: int, width: int, rng: np.random.Generator) -> Camera:
    x, y, z = rng.uniform(*scene.standing).tolist()
    if scene.kind == "room":
        target = 0.7 * rng.uniform(*scene.standing)
        yaw = float(np.arctan2(target[1] - y, target[0] - x))
    else:
        yaw = np.pi / 2 + rng.normal(0, 1.2 if rng.random() < 0.25 else 0.3)
    pitch, roll = np.clip(rng.normal((-7, 0), (8, 1.5)), (-25, -4), (10, 4))
    pitch, roll, field = np.deg2rad([pitch, roll, rng.uniform(*FIELD)]).tolist()
    return Camera((x, y, z), yaw, pitch, roll, field, height, width)


def _sees_clearly(camera: Camera, scene: Scene) -> bool:
    """Whether a coarse grid of rays meets nothing right before the lens."""
    rows, columns = np.meshgrid(np.linspace(0, camera.height, 9), np.linspace(0, camera.width, 12), indexing="ij")
    rays = camera.rays(rows.ravel().astype(np.float32), columns.ravel().astype(np.float32))
    _, met = Bundle(np.array(camera.position, np.float32), rays).nearest(scene.solids, _CLEARANCE[scene.kind])
    return bool((met < 0).all())
