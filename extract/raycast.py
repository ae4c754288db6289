"""A ray caster: a camera, a scene of solids and lamps, and the picture and exact depth that the camera sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rays import Bundle
from .shapes import Solid
from .textures import Array, noise

_SUBPIXELS = np.array([[-0.375, -0.125], [-0.125, 0.375], [0.125, -0.375], [0.375, 0.125]], np.float32)
_TILE = 8  # pixels
_CONTACT = 0.004  # metres; shadows of things closer than this to a surface are left out, against rounding


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: World position, metres.
        yaw: Heading in radians, from world x towards world y.
        pitch: Tilt in radians, positive up.
        roll: Turn about the optical axis in radians, positive clockwise as the camera sees it.
        field: Horizontal field of view, radians.
        height: Image rows.
        width: Image columns.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    field: float
    height: int
    width: int

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
        return directions / np.linalg.norm(directions, axis=0)


@dataclass(frozen=True)
class Lamp:
    """A point light; `power` is the linear RGB light that falls on a surface one metre away."""

    position: tuple[float, float, float]
    power: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """What there is to see.

    Attributes:
        solids: Everything solid.
        lamps: Point lights, with shadows and inverse-square falloff; the sun is a far, strong one.
        above: Linear RGB light that comes from above without shadows.
        below: Linear RGB light that comes from below without shadows.
        sky: Linear RGB of the sky straight up; black indoors.
        horizon: Linear RGB of the sky at the horizon and of the haze.
        haze: Share of the view lost to haze in a metre.
    """

    solids: tuple[Solid, ...]
    lamps: tuple[Lamp, ...]
    above: tuple[float, float, float]
    below: tuple[float, float, float]
    sky: tuple[float, float, float] = (0.0, 0.0, 0.0)
    horizon: tuple[float, float, float] = (0.0, 0.0, 0.0)
    haze: float = 0.0


def _lit(scene: Scene, lamp: Lamp, points: Array, normals: Array) -> Array:
    """Light of one lamp on surface points [3, N], linear RGB [3, N]."""
    origin = np.array(lamp.position, np.float32)
    reach = points - origin[:, None]
    away = np.linalg.norm(reach, axis=0)
    reach /= away
    facing = -np.sum(reach * normals, axis=0)
    light = np.maximum(facing, 0) / (away * away)
    bright = np.flatnonzero(light)
    casters = [solid for solid in scene.solids if solid.casts_shadow]
    dark = Bundle(origin, reach[:, bright]).blocked(casters, away[bright] - np.float32(_CONTACT))
    light[bright[dark]] = 0
    return np.array(lamp.power, np.float32)[:, None] * light


def _sky(scene: Scene, directions: Array) -> Array:
    """Linear RGB [3, N] of the sky: paler towards the horizon, with soft clouds."""
    climb = np.clip(directions[2], 0.02, 1)
    flat = directions[:2] / climb
    fine = 0.02 / climb**2
    clouds = np.clip(noise(flat[0], flat[1], fine, fine, 1.6, 3) + 0.1, 0, 1) * np.clip(4 * climb, 0, 1)
    zenith, horizon = (np.array(c, np.float32)[:, None] for c in (scene.sky, scene.horizon))
    share = np.exp(-3.5 * climb)
    clear = zenith * (1 - share) + horizon * share
    return clear * (1 - 0.6 * clouds) + horizon * (0.66 * clouds)


def _radiance(scene: Scene, origin: Array, directions: Array, pixel: float) -> tuple[Array, Array, NDArray[np.int16]]:
    """Linear RGB [3, N], distance [N] and a number of the surface met [N] for each ray; `pixel` is its angle."""
    distance, index = Bundle(origin, directions).nearest(scene.solids)
    colour = np.empty_like(directions)
    open_sky = np.flatnonzero(index < 0)
    colour[:, open_sky] = _sky(scene, directions[:, open_sky])
    met = np.flatnonzero(index >= 0)
    rays, away, solid_of = directions[:, met], distance[met], index[met]
    points = origin[:, None] + rays * away
    normals, albedo = np.empty_like(points), np.empty_like(points)
    glow, face = np.zeros_like(away), np.zeros(len(met), np.int16)
    for k in np.unique(solid_of):
        here = np.flatnonzero(solid_of == k)
        solid = scene.solids[k]
        patch = solid.surface(points[:, here], rays[:, here])
        normals[:, here], face[here] = patch.normal, patch.face
        slant = np.maximum(-np.sum(patch.normal * rays[:, here], axis=0), 0.02)
        size = away[here] * np.float32(pixel)
        du = size * np.hypot(1, np.sum(patch.u_axis * rays[:, here], axis=0) / slant)
        dv = size * np.hypot(1, np.sum(patch.v_axis * rays[:, here], axis=0) / slant)
        for number, material in enumerate(solid.materials):
            of = np.flatnonzero(patch.face == number)
            if len(of):
                albedo[:, here[of]] = material.texture(patch.u[of], patch.v[of], du[of], dv[of])
                glow[here[of]] = material.glow
    up = (1 + normals[2]) / 2
    light = np.array(scene.above, np.float32)[:, None] * up + np.array(scene.below, np.float32)[:, None] * (1 - up)
    for lamp in scene.lamps:
        light += _lit(scene, lamp, points, normals)
    clear = np.exp(-scene.haze * away)
    colour[:, met] = albedo * (light + glow) * clear + np.array(scene.horizon, np.float32)[:, None] * (1 - clear)
    surface = np.full_like(index, -1)
    surface[met] = solid_of * 3 + face
    return colour, distance, surface


def render(
    scene: Scene, camera: Camera, max_depth: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Take a picture and measure its depth.

    Args:
        scene: What there is to see.
        camera: Where it is seen from.
        max_depth: Depth beyond this is unknown, metres.
        rng: Source of the picture's noise.

    Returns:
        The picture [H, W, 3], and each pixel's depth along the optical axis at the pixel's middle [H, W] in metres, 0
        where there is only sky or where it is beyond `max_depth`.
    """
    order = _tiled(camera.height, camera.width)
    rows, columns = (a.astype(np.float32) + np.float32(0.5) for a in np.divmod(order, camera.width))
    origin = np.array(camera.position, np.float32)
    directions = camera.rays(rows, columns)
    colour, distance, surface = _radiance(scene, origin, directions, 1 / camera.focal)
    depth = distance * (camera.axes[2] @ directions)
    depth[~(depth <= max_depth)] = 0

    position = np.argsort(order).reshape(camera.height, camera.width)
    edge = np.flatnonzero(_edges(surface[position]).ravel()[order])
    finer_rows = (rows[edge, None] + _SUBPIXELS[:, 0]).ravel()
    finer_columns = (columns[edge, None] + _SUBPIXELS[:, 1]).ravel()
    finer, _, _ = _radiance(scene, origin, camera.rays(finer_rows, finer_columns), 0.5 / camera.focal)
    colour[:, edge] = finer.reshape(3, -1, len(_SUBPIXELS)).mean(axis=2)
    return develop(np.moveaxis(colour[:, position], 0, 2), rng), depth[position]


def _tiled(height: int, width: int) -> NDArray[np.int64]:
    """The pixels' numbers in an order that goes through one small square after another, [H * W]."""
    row, column = np.divmod(np.arange(height * width), width)
    return np.lexsort((column, row, column // _TILE, row // _TILE))


def _edges(surface: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Pixels that have another surface beside them, [H, W]."""
    edge = np.zeros(surface.shape, bool)
    down, across = surface[1:] != surface[:-1], surface[:, 1:] != surface[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge


def develop(light: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn linear light [H, W, 3] into a picture [H, W, 3]: exposure, shoulder, shot and read noise, sRGB curve."""
    brightness = light.mean(axis=2)
    middle, high = np.percentile(brightness, [50, 95]).clip(1e-4)
    exposed = 1 - np.exp(light * np.float32(-min(0.4 / middle, 1.9 / high)))
    exposed += rng.standard_normal(light.shape, np.float32) * np.sqrt(2e-5 + 3e-4 * exposed)
    exposed = exposed.clip(0, 1)
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** np.float32(1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)
