"""Procedural surface patterns, each averaged over the patch of surface that one pixel sees.

A texture maps surface coordinates `u`, `v` (metres, [N]) and the pixel's extent along each (`du`, `dv`, metres, [N]) to
linear reflectance [3, N] in 0 to 1. Averaging over the extent is what keeps far bricks from turning into moire.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float32 throughout; the stubs cannot follow that
Colour = tuple[float, float, float]

_LATTICE: Array = np.random.default_rng(20260926).random((256, 256), dtype=np.float32)


class Texture(ABC):
    """A surface pattern."""

    def __call__(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        """Linear reflectance [3, N] at `u`, `v` averaged over `du`, `dv` (metres, [N])."""
        return self._reflect(u, v, du, dv)

    @abstractmethod
    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array: ...


def linear(colour: Colour) -> Array:
    """A display (sRGB) colour in 0 to 1 as linear reflectance [3, 1]."""
    return np.array(colour, np.float32)[:, None] ** np.float32(2.2)


def pulse(x: Array, width: Array, duty: float) -> Array:
    """The wave that is 1 over the first `duty` of each unit period and else 0, averaged over `width` around x."""
    width = np.maximum(width, np.float32(0.01))

    def integral(y: Array) -> Array:
        whole = np.floor(y)
        return whole * np.float32(duty) + np.minimum(y - whole, np.float32(duty))

    return (integral(x + width / 2) - integral(x - width / 2)) / width


def cell_value(i: Array, j: Array) -> Array:
    """A fixed random number in 0 to 1 for each whole-numbered cell (i, j)."""
    return _LATTICE[i.astype(np.int64) & 255, j.astype(np.int64) & 255]


def noise(u: Array, v: Array, du: Array, dv: Array, size: float, octaves: int = 2) -> Array:
    """Smooth value noise in about -1 to 1 with lumps of `size` metres; lumps finer than a pixel fade out."""
    total, weight = np.zeros_like(u), 1.0
    for octave in range(octaves):
        frequency = 2.03**octave / size
        x, y = u * np.float32(frequency) + 17 * octave, v * np.float32(frequency) - 29 * octave
        i, j = np.floor(x), np.floor(y)
        fx, fy = _ease(x - i), _ease(y - j)
        low = cell_value(i, j) * (1 - fx) + cell_value(i + 1, j) * fx
        high = cell_value(i, j + 1) * (1 - fx) + cell_value(i + 1, j + 1) * fx
        total += (2 * (low * (1 - fy) + high * fy) - 1) * (weight * _resolved(np.maximum(du, dv), 1 / frequency))
        weight *= 0.55
    return total


def _ease(x: Array) -> Array:
    return x * x * (3 - 2 * x)


def _resolved(width: Array, size: float) -> Array:
    """1 where a pixel is much finer than a detail of `size`, falling to 0 where it is as wide."""
    return np.clip(1.4 - 1.4 * width / np.float32(size), 0, 1)


@dataclass(frozen=True)
class Speckle(Texture):
    """One colour, mottled by noise: plaster, cloth, asphalt, grass, leaves."""

    colour: Colour
    amount: float = 0.08
    size: float = 0.2
    octaves: int = 2

    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        return linear(self.colour) * (1 + self.amount * noise(u, v, du, dv, self.size, self.octaves))


@dataclass(frozen=True)
class Checks(Texture):
    """A chessboard of two colours with squares of `size` metres."""

    first: Colour
    second: Colour
    size: float

    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        period = np.float32(2 * self.size)
        sign = (2 * pulse(u / period, du / period, 0.5) - 1) * (2 * pulse(v / period, dv / period, 0.5) - 1)
        share = (sign + 1) / 2
        return linear(self.first) * share + linear(self.second) * (1 - share)


@dataclass(frozen=True)
class Stripes(Texture):
    """Bands of two colours along v, `period` metres apart along u; the first takes the share `duty`."""

    first: Colour
    second: Colour
    period: float
    duty: float = 0.5

    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        share = pulse(u / np.float32(self.period), du / np.float32(self.period), self.duty)
        return linear(self.first) * share + linear(self.second) * (1 - share)


@dataclass(frozen=True)
class Tiles(Texture):
    """Rows of tiles with joints: bricks, planks, floor tiles, paving. Each row is moved on by `shift` of a tile."""

    colour: Colour
    joint_colour: Colour
    length: float
    height: float
    joint: float
    shift: float = 0.5
    variation: float = 0.15

    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        y = v / np.float32(self.height)
        row = np.floor(y)
        x = u / np.float32(self.length) + row * np.float32(self.shift)
        tile = pulse(x, du / np.float32(self.length), 1 - self.joint / self.length)
        tile *= pulse(y, dv / np.float32(self.height), 1 - self.joint / self.height)
        spread = _resolved(du, self.length) * _resolved(dv, self.height)
        tint = 1 + self.variation * (2 * cell_value(np.floor(x), row) - 1) * spread
        tint += 0.5 * self.variation * noise(u, v, du, dv, 0.6 * self.height)
        return linear(self.colour) * (tile * tint) + linear(self.joint_colour) * (1 - tile)


@dataclass(frozen=True)
class Facade(Texture):
    """A building's front: a wall texture with one window in each bay and storey (metres); v is 0 at half the height."""

    wall: Texture
    glass: Colour
    frame: Colour
    bay: float
    storey: float
    base: float
    width_share: float = 0.45
    height_share: float = 0.5

    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        x, y = u / np.float32(self.bay), (v - np.float32(self.base)) / np.float32(self.storey) - np.float32(0.3)
        dx, dy = du / np.float32(self.bay), dv / np.float32(self.storey)
        rim_x, rim_y = 0.07 / self.bay, 0.07 / self.storey
        outer = pulse(x + rim_x, dx, self.width_share + 2 * rim_x) * pulse(y + rim_y, dy, self.height_share + 2 * rim_y)
        inner = pulse(x, dx, self.width_share) * pulse(y, dy, self.height_share)
        bright = 0.5 + 1.3 * cell_value(np.floor(x), np.floor(y)) ** 3
        front = self.wall(u, v, du, dv) * (1 - outer) + linear(self.frame) * (outer - inner)
        return front + linear(self.glass) * (inner * bright)


@dataclass(frozen=True)
class Road(Texture):
    """Asphalt along v with a dashed middle line at u = 0."""

    colour: Colour
    line: Colour = (0.86, 0.86, 0.82)

    def _reflect(self, u: Array, v: Array, du: Array, dv: Array) -> Array:
        asphalt = linear(self.colour) * (
            1 + 0.22 * noise(u, v, du, dv, 0.12) + 0.14 * noise(u, v / 6, du, dv / 6, 0.9, 1)
        )
        middle = np.clip((0.07 - np.abs(u)) / np.maximum(du, 0.01) + 0.5, 0, 1)
        middle = np.minimum(middle, 0.14 / np.maximum(du, 0.14))
        dash = middle * pulse(v / 5, dv / 5, 0.45)
        return asphalt * (1 - dash) + linear(self.line) * dash
