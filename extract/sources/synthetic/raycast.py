"""A ray caster: a camera, and the picture and exact depth of the scene before it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .materials import Array, Spot
from .shading import Scene, radiance
from .solids import dot

_SUBPIXELS = np.array([[-0.35, 0.2], [0.35, -0.2]], np.float32)
_TILE = 8  # pixels


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
        return self.width / 2 / float(np.tan(self.field / 2))

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


def render(
    scene: Scene, camera: Camera, max_depth: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int16]]:
    """Take a picture and measure its depth.

    Args:
        scene: What there is to see.
        camera: Where it is seen from.
        max_depth: Depth beyond this is unknown, metres.
        rng: Source of the picture's noise.

    Returns:
        The picture [H, W, 3]; each pixel's depth along the optical axis at the pixel's middle [H, W] in metres, 0 where
        there is only sky or where it is beyond `max_depth`; and the index of the solid there [H, W], -1 in the sky.
    """
    order = _tiled(camera.height, camera.width)
    rows, columns = (a.astype(np.float32) + np.float32(0.5) for a in np.divmod(order, camera.width))
    origin = np.array(camera.position, np.float32)
    directions = camera.rays(rows, columns)
    colour, distance, index = radiance(scene, origin, directions, 1 / camera.focal)
    depth = distance * (camera.axes[2] @ directions)
    depth[~(depth <= max_depth)] = 0

    position = np.argsort(order).reshape(camera.height, camera.width)
    solids = index[position]
    edge = np.flatnonzero(_edges(solids).ravel()[order])
    finer_rows = (rows[edge, None] + _SUBPIXELS[:, 0]).ravel()
    finer_columns = (columns[edge, None] + _SUBPIXELS[:, 1]).ravel()
    finer, _, _ = radiance(scene, origin, camera.rays(finer_rows, finer_columns), 0.5 / camera.focal)
    colour[:, edge] += finer.reshape(3, -1, len(_SUBPIXELS)).sum(axis=2)
    colour[:, edge] /= 1 + len(_SUBPIXELS)
    image = develop(np.moveaxis(colour[:, position], 0, 2), scene.brightness, rng)
    return image, depth[position].astype(np.float32), solids


def _tiled(height: int, width: int) -> NDArray[np.int64]:
    """The pixels' numbers in an order that goes through one small square after another, [H * W]."""
    row, column = np.divmod(np.arange(height * width), width)
    return np.lexsort((column, row, column // _TILE, row // _TILE))


def _edges(solids: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Pixels that have another solid beside them, [H, W]."""
    edge = np.zeros(solids.shape, bool)
    down, across = solids[1:] != solids[:-1], solids[:, 1:] != solids[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge


def develop(light: Array, brightness: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn linear light [H, W, 3] into a picture [H, W, 3]: exposure, shoulder, shot and read noise, sRGB curve."""
    middle, high = np.percentile(light.mean(axis=2), [50, 95]).clip(1e-4)
    exposed = 1 - np.exp(light * np.float32(-min(brightness / middle, 1.9 / high)))
    exposed += rng.standard_normal(light.shape, np.float32) * np.sqrt(2e-5 + 3e-4 * exposed)
    exposed = exposed.clip(0, 1)
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** np.float32(1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)
