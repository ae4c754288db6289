"""Scenes of solids and lamps, and the light that comes from them along rays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .materials import Array, Colour, Material, Spot, noise
from .rays import Bundle
from .solids import Solid, dot

Kind = Literal["room", "street"]

_CONTACT = 0.004  # metres; shadows of things closer than this to a surface are left out, against rounding
_FAINT = 0.002  # light below this is not followed


@dataclass(frozen=True)
class Lamp:
    """A point light; `power` is the linear RGB light that falls on a surface one metre away."""

    position: Spot
    power: Colour


@dataclass(frozen=True)
class Scene:
    """What there is to see; all light is linear RGB."""

    kind: Kind
    standing: tuple[Spot, Spot]  # least and largest x, y, z of a camera
    solids: Sequence[Solid]
    things: Sequence[tuple[str, Material | None]]  # what the solids are part of: noun, what it is coloured by
    lamps: Sequence[Lamp]  # with shadows and inverse-square falloff; the sun is a far, strong one
    above: Colour  # light from above, without shadows
    below: Colour  # light from below, without shadows
    sky: Colour = (0.0, 0.0, 0.0)  # straight up
    horizon: Colour = (0.0, 0.0, 0.0)  # the sky there, and the haze
    haze: float = 0.0  # share of the view lost to haze in a metre
    brightness: float = 0.4  # what the middle of a picture is developed to
    light: str = ""  # in a word or two: "noon", "daylight"


def radiance(scene: Scene, origin: Array, directions: Array, pixel: float) -> tuple[Array, Array, NDArray[np.int16]]:
    """What rays from a point [3] in unit directions [3, N] see, `pixel` radians apart.

    Returns:
        Linear RGB [3, N], distance in metres [N] and the index of the solid met [N]; infinite and -1 in the sky.
    """
    distance, index = Bundle(origin, directions).nearest(scene.solids)
    order = np.argsort(index, kind="stable")  # solid by solid: a lamp's rays to neighbours on one solid are alike
    open_sky, met = np.split(order, [np.count_nonzero(index < 0)])
    rays, away = directions[:, met], distance[met]
    points = origin[:, None] + rays * away
    albedo, normals, glow = np.empty_like(points), np.empty_like(points), np.empty_like(away)
    shown, starts = np.unique(index[met], return_index=True)
    ends = np.append(starts, len(met))[1:]
    for k, start, end in zip(shown, starts, ends, strict=True):
        here, solid = slice(start, end), scene.solids[k]
        size = away[here] * np.float32(pixel)
        normals[:, here], albedo[:, here] = solid.surface(points[:, here], rays[:, here], size)
        glow[here] = solid.material.glow

    up = (1 + normals[2]) / 2
    light = _column(scene.above) * up + _column(scene.below) * (1 - up) + glow
    for lamp in scene.lamps:
        light += _column(lamp.power) * _reaching(scene, lamp, points, normals)
    clear = np.exp(-scene.haze * away)
    colour = np.empty_like(directions)
    colour[:, met] = albedo * light * clear + _column(scene.horizon) * (1 - clear)
    colour[:, open_sky] = _sky(scene, directions[:, open_sky])
    return colour, distance, index


def _reaching(scene: Scene, lamp: Lamp, points: Array, normals: Array) -> Array:
    """The share of a lamp's power that falls on surface points [3, N], [N]."""
    origin = np.array(lamp.position, np.float32)
    reach = points - origin[:, None]
    away = np.sqrt(dot(reach, reach))
    reach /= away
    light = np.maximum(-dot(reach, normals), 0) / (away * away)
    light[light < _FAINT / max(lamp.power)] = 0
    bright = np.flatnonzero(light)
    casters = [solid for solid in scene.solids if solid.casts_shadow]
    _, blocker = Bundle(origin, reach[:, bright]).nearest(casters, away[bright] - np.float32(_CONTACT))
    light[bright[blocker >= 0]] = 0
    return light


def _sky(scene: Scene, directions: Array) -> Array:
    """Linear RGB [3, N] of the sky: paler towards the horizon, with soft clouds."""
    climb = np.clip(directions[2], 0.02, 1)
    flat = directions[:2] / climb
    clouds = np.clip(noise(flat[0], flat[1], 0.02 / climb**2, 1.6, 3) + 0.1, 0, 1) * np.clip(4 * climb, 0, 1)
    share = np.exp(-3.5 * climb)
    clear = _column(scene.sky) * (1 - share) + _column(scene.horizon) * share
    return clear * (1 - 0.6 * clouds) + _column(scene.horizon) * (0.66 * clouds)


def _column(colour: Colour) -> Array:
    return np.array(colour, np.float32)[:, None]
