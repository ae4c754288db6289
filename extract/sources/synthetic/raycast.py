"""A ray caster: the picture and the exact depth of the scene before a camera."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .materials import Array
from .shading import Scene, radiance

_SUBPIXELS = np.array([[-0.35, 0.2], [0.35, -0.2]], np.float32)
_TILE = 8  # pixels


def render(
    scene: Scene, camera: Camera, max_depth: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int16]]:
    """Take a picture, with noise from `rng`, and measure what each pixel's middle shows.

    Returns:
        The picture [H, W, 3]; depth along the optical axis [H, W] in metres, 0 where there is only sky or where it is
        beyond `max_depth`; and the index of the solid [H, W], -1 in the sky.
    """
    order, position = _tiled(camera.height, camera.width)
    rows, columns = (a.astype(np.float32) + np.float32(0.5) for a in np.divmod(order, camera.width))
    origin = np.array(camera.position, np.float32)
    directions = camera.rays(rows, columns)
    colour, distance, index = radiance(scene, origin, directions, 1 / camera.focal)
    depth = distance * (camera.axes[2] @ directions)
    depth[~(depth <= max_depth)] = 0

    solids = index[position]
    edge = np.flatnonzero(_edges(solids).ravel()[order])
    finer_rows = (rows[edge, None] + _SUBPIXELS[:, 0]).ravel()
    finer_columns = (columns[edge, None] + _SUBPIXELS[:, 1]).ravel()
    finer, _, _ = radiance(scene, origin, camera.rays(finer_rows, finer_columns), 0.5 / camera.focal)
    colour[:, edge] += finer.reshape(3, -1, len(_SUBPIXELS)).sum(axis=2)
    colour[:, edge] /= 1 + len(_SUBPIXELS)
    image = develop(np.moveaxis(colour[:, position], 0, 2), scene.brightness, rng)
    return image, depth[position].astype(np.float32), solids


@lru_cache(maxsize=1)
def _tiled(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels' numbers in an order that goes through one small square after another [H * W]; each's place [H, W]."""
    row, column = np.divmod(np.arange(height * width), width)
    order = np.lexsort((column, row, column // _TILE, row // _TILE))
    return order, np.argsort(order).reshape(height, width)


def _edges(solids: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Pixels that have another solid beside them, [H, W]."""
    framed = np.pad(solids, 1, mode="edge")
    beside = framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]
    return np.any([solids != other for other in beside], axis=0)


def develop(light: Array, brightness: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn linear light [H, W, 3] into a picture [H, W, 3]: exposure, shoulder, shot and read noise, sRGB curve."""
    middle, high = np.percentile(light.mean(axis=2), [50, 95]).clip(1e-4)
    exposed = 1 - np.exp(light * np.float32(-min(brightness / middle, 1.9 / high)))
    exposed += rng.standard_normal(light.shape, np.float32) * np.sqrt(2e-5 + 3e-4 * exposed)
    exposed = exposed.clip(0, 1)
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** np.float32(1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)
