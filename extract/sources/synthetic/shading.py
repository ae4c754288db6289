"""Scenes of solids and lamps, and the light that comes from them along rays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rays import Bundle
from .shapes import Solid, dot
from .textures import Array, Colour, noise

_CONTACT = 0.004  # metres; shadows of things closer than this to a surface are left out, against rounding


@dataclass(frozen=True)
class Lamp:
    """A point light; `power` is the linear RGB light that falls on a surface one metre away."""

    position: tuple[float, float, float]
    power: Colour


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
    above: Colour
    below: Colour
    sky: Colour = (0.0, 0.0, 0.0)
    horizon: Colour = (0.0, 0.0, 0.0)
    haze: float = 0.0


def _lit(scene: Scene, lamp: Lamp, points: Array, normals: Array) -> Array:
    """Light of one lamp on surface points [3, N], linear RGB [3, N]."""
    origin = np.array(lamp.position, np.float32)
    reach = points - origin[:, None]
    away = np.sqrt(dot(reach, reach))
    reach /= away
    facing = -dot(reach, normals)
    light = np.maximum(facing, 0) / (away * away)
    bright = np.flatnonzero(light)
    casters = [solid for solid in scene.solids if solid.casts_shadow]
    dark = Bundle(origin, reach[:, bright]).blocked(casters, away[bright] - np.float32(_CONTACT))
    light[bright[dark]] = 0
    return _column(lamp.power) * light


def _sky(scene: Scene, directions: Array) -> Array:
    """Linear RGB [3, N] of the sky: paler towards the horizon, with soft clouds."""
    climb = np.clip(directions[2], 0.02, 1)
    flat = directions[:2] / climb
    fine = 0.02 / climb**2
    clouds = np.clip(noise(flat[0], flat[1], fine, fine, 1.6, 3) + 0.1, 0, 1) * np.clip(4 * climb, 0, 1)
    zenith, horizon = _column(scene.sky), _column(scene.horizon)
    share = np.exp(-3.5 * climb)
    clear = zenith * (1 - share) + horizon * share
    return clear * (1 - 0.6 * clouds) + horizon * (0.66 * clouds)


def radiance(scene: Scene, origin: Array, directions: Array, pixel: float) -> tuple[Array, Array, NDArray[np.int16]]:
    """What rays from one point see.

    Args:
        scene: What there is to see.
        origin: The point, [3].
        directions: Unit directions, [3, N].
        pixel: The angle between neighbouring pixels, radians.

    Returns:
        Linear RGB [3, N], distance in metres [N] and a number for the face met [N]; infinite and -1 in the sky.
    """
    distance, index = Bundle(origin, directions).nearest(scene.solids)
    met, open_sky = np.flatnonzero(index >= 0), np.flatnonzero(index < 0)
    rays, away = directions[:, met], distance[met]
    points = origin[:, None] + rays * away
    albedo, glow, normals, face = _surfaces(scene, index[met], points, rays, away * np.float32(pixel))

    up = (1 + normals[2]) / 2
    light = _column(scene.above) * up + _column(scene.below) * (1 - up) + glow
    for lamp in scene.lamps:
        light += _lit(scene, lamp, points, normals)
    clear = np.exp(-scene.haze * away)
    colour = np.empty_like(directions)
    colour[:, met] = albedo * light * clear + _column(scene.horizon) * (1 - clear)
    colour[:, open_sky] = _sky(scene, directions[:, open_sky])
    surface = np.full_like(index, -1)
    surface[met] = face
    return colour, distance, surface


def _surfaces(
    scene: Scene, index: NDArray[np.int16], points: Array, rays: Array, size: Array
) -> tuple[Array, Array, Array, NDArray[np.int16]]:
    """Reflectance [3, N], glow [N], normal [3, N] and face number [N] where rays met solids, a pixel being `size`."""
    albedo, normals = np.empty_like(points), np.empty_like(points)
    glow, face = np.zeros_like(size), np.zeros_like(index)
    for k in np.unique(index):
        here = np.flatnonzero(index == k)
        solid, ray = scene.solids[k], rays[:, here]
        patch = solid.surface(points[:, here], ray)
        normals[:, here], face[here] = patch.normal, 3 * k + patch.face
        slant = np.maximum(-dot(patch.normal, ray), 0.02)
        du = size[here] * np.hypot(1, dot(patch.u_axis, ray) / slant)
        dv = size[here] * np.hypot(1, dot(patch.v_axis, ray) / slant)
        for number, material in enumerate(solid.materials):
            of = np.flatnonzero(patch.face == number)
            if len(of):
                albedo[:, here[of]] = material.texture(patch.u[of], patch.v[of], du[of], dv[of])
                glow[here[of]] = material.glow
    return albedo, glow, normals, face


def _column(colour: Colour) -> Array:
    return np.array(colour, np.float32)[:, None]
