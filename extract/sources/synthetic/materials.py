"""Materials: what surfaces look like, as procedural patterns averaged over the patch that one pixel sees.

A pattern maps surface coordinates `u`, `v` (metres, [N]) and the pixel's extent along each (`du`, `dv`, metres, [N]) to
linear reflectance [3, N] in 0 to 1. Averaging over the extent is what keeps far bricks from turning into moire.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float32 throughout; the stubs cannot follow that
Colour = tuple[float, float, float]
Spot = tuple[float, float, float]  # metres

_LATTICE: Array = np.random.default_rng(20260926).random(256 * 256, dtype=np.float32)


@dataclass(frozen=True)
class Material:
    """What a surface looks like."""

    pattern: Callable[[Array, Array, Array, Array], Array]
    colours: tuple[Colour, ...]  # display colours by which it is described
    glow: float = 0.0  # light that it gives off itself, as a share of its reflectance
    style: str = ""  # the pattern's word, where it has one


def linear(colour: Colour) -> Array:
    """A display (sRGB) colour in 0 to 1 as linear reflectance [3, 1]."""
    return np.array(colour, np.float32)[:, None] ** np.float32(2.2)


def palette(colours: str) -> list[Colour]:
    """Display colours from hexadecimal digits: "ff0000 ffffff" is red and white."""
    return [(r / 255, g / 255, b / 255) for r, g, b in map(bytes.fromhex, colours.split())]


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, `factor` times as bright."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def paint(colour: Colour, amount: float = 0.05, size: float = 0.25, octaves: int = 2, glow: float = 0.0) -> Material:
    """One colour, mottled by noise: paint, plaster, cloth, asphalt, grass, leaves."""

    def pattern(u: Array, v: Array, du: Array, dv: Array) -> Array:
        return linear(colour) * (1 + amount * noise(u, v, np.maximum(du, dv), size, octaves))

    return Material(pattern, (colour,), glow)


def stripes(first: Colour, second: Colour, period: float, duty: float = 0.5, checked: bool = False) -> Material:
    """Bands of two colours along v, or squares if `checked`; the first takes the share `duty` of each `period`."""

    def pattern(u: Array, v: Array, du: Array, dv: Array) -> Array:
        share = pulse(u / period, du / period, duty)
        if checked:
            other = pulse(v / period, dv / period, duty)
            share = share * other + (1 - share) * (1 - other)
        return linear(first) * share + linear(second) * (1 - share)

    return Material(pattern, (first, second), style="checked" if checked else "striped")


def tiles(
    colour: Colour,
    joint_colour: Colour,
    size: tuple[float, float],
    joint: float,
    shift: float = 0.5,
    variation: float = 0.15,
) -> Material:
    """Rows of tiles with joints: bricks, planks, floor tiles, paving. Each row is moved on by `shift` of a tile."""
    length, height = size

    def pattern(u: Array, v: Array, du: Array, dv: Array) -> Array:
        y = v / height
        row = np.floor(y)
        x = u / length + row * shift
        tile = pulse(x, du / length, 1 - joint / length) * pulse(y, dv / height, 1 - joint / height)
        spread = _resolved(du, length) * _resolved(dv, height)
        tint = 1 + variation * (2 * cell_value(np.floor(x), row) - 1) * spread
        tint += 0.5 * variation * noise(u, v, np.maximum(du, dv), 0.6 * height)
        return linear(colour) * (tile * tint) + linear(joint_colour) * (1 - tile)

    return Material(pattern, (colour,))


def facade(wall: Material, glass: Colour, frame: Colour, bay: float, storey: float, base: float) -> Material:
    """A house's front: a wall with one window in each bay and storey (metres); v is 0 at half the height."""

    def pattern(u: Array, v: Array, du: Array, dv: Array) -> Array:
        x, y = u / bay, (v - base) / storey - 0.3
        dx, dy = du / bay, dv / storey
        rim_x, rim_y = 0.07 / bay, 0.07 / storey
        outer = pulse(x + rim_x, dx, 0.45 + 2 * rim_x) * pulse(y + rim_y, dy, 0.5 + 2 * rim_y)
        inner = pulse(x, dx, 0.45) * pulse(y, dy, 0.5)
        bright = 0.5 + 1.3 * cell_value(np.floor(x), np.floor(y)) ** 3
        front = wall.pattern(u, v, du, dv) * (1 - outer) + linear(frame) * (outer - inner)
        return front + linear(glass) * (inner * bright)

    return Material(pattern, wall.colours)


def pulse(x: Array, width: Array, duty: float) -> Array:
    """The wave that is 1 over the first `duty` of each unit period and else 0, averaged over `width` around x."""
    width = np.maximum(width, 0.01)

    def integral(y: Array) -> Array:
        whole = np.floor(y)
        return whole * duty + np.minimum(y - whole, duty)

    return (integral(x + width / 2) - integral(x - width / 2)) / width


def cell_value(i: NDArray, j: NDArray) -> Array:
    """A fixed random number in 0 to 1 for each whole-numbered cell (i, j)."""
    return _LATTICE.take((i.astype(np.int32, copy=False) & 255) << 8 | (j.astype(np.int32, copy=False) & 255))


def noise(u: Array, v: Array, extent: Array, size: float, octaves: int = 2) -> Array:
    """Smooth value noise in about -1 to 1 with lumps of `size` metres; lumps finer than a pixel's `extent` fade out."""
    total, weight = np.zeros_like(u), 1.0
    for octave in range(octaves):
        frequency = 2.03**octave / size
        x, y = u * frequency + 17 * octave, v * frequency - 29 * octave
        i, j = np.floor(x), np.floor(y)
        fx, fy = (t * t * (3 - 2 * t) for t in (x - i, y - j))
        i, j = i.astype(np.int32), j.astype(np.int32)
        low = cell_value(i, j) * (1 - fx) + cell_value(i + 1, j) * fx
        high = cell_value(i, j + 1) * (1 - fx) + cell_value(i + 1, j + 1) * fx
        total += (2 * (low * (1 - fy) + high * fy) - 1) * (weight * _resolved(extent, 1 / frequency))
        weight *= 0.55
    return total


def _resolved(width: Array, size: float) -> Array:
    """1 where a pixel is much finer than a detail of `size`, falling to 0 where it is as wide."""
    return np.clip(1.4 - 1.4 * width / size, 0, 1)
