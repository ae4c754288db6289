"""Synthetic streets: a road between kerbs and pavements, rows of houses, parked cars, trees, sun, sky and haze."""

from dataclasses import dataclass

import numpy as np

from . import streetware
from .shading import Lamp, Scene
from .shapes import Material, Solid
from .site import Site, paint, pick, vary
from .textures import Road, Speckle, Tiles

_SUN_AWAY = 1000.0  # metres
_KERB = 0.13  # metres above the road


@dataclass(frozen=True)
class Layout:
    """A street's measures in metres; it runs along the world's y axis, with the road's middle at x = 0.

    Attributes:
        road: Width of the road.
        pavement: Width of each pavement.
        start: The y where the houses begin.
        end: The y where they end.
    """

    road: float
    pavement: float
    start: float
    end: float

    @property
    def front(self) -> float:
        """Distance of the houses' fronts from the road's middle."""
        return self.road / 2 + self.pavement


def street(rng: np.random.Generator) -> tuple[Scene, Layout]:
    """Build a street.

    Args:
        rng: Decides everything about it.

    Returns:
        The scene and its measures.
    """
    end = float(rng.uniform(14, 50))
    layout = Layout(float(rng.uniform(4.5, 8.5)), float(rng.uniform(1.6, 3.6)), -14.0, end)
    site = Site()
    asphalt = Material(Road(vary(rng, (0.36, 0.36, 0.37), 0.025)))
    site.box((0, 0, -1), (2000, 2000, 1), asphalt, casts_shadow=False)
    for side in (-1, 1):
        _side(site, rng, layout, side)
    if rng.random() < 0.7:
        streetware.building(site.at(0, end + 6, 0, np.pi), rng, 2 * layout.front + 16, 9)
    else:
        _park(site.at(0, end), rng)
    for _ in range(int(rng.integers(0, 3))):
        lane = pick(rng, (-1, 1))
        spot = site.at(lane * layout.road / 4, float(rng.uniform(4, end)), 0, 0 if lane > 0 else np.pi)
        streetware.car(spot, rng)
    return _day(rng, site.solids), layout


def _side(site: Site, rng: np.random.Generator, layout: Layout, side: int) -> None:
    """Pavement, houses, parked cars and things on the pavement along one side (-1 left, 1 right)."""
    length, middle = layout.end - layout.start, (layout.end + layout.start) / 2
    slabs = Material(Tiles(vary(rng, (0.66, 0.64, 0.6), 0.04), (0.42, 0.41, 0.39), 0.6, 0.6, 0.025, 0.5, 0.12))
    stone = paint(vary(rng, (0.72, 0.71, 0.68), 0.03), 0.1)
    x = side * (layout.road / 2 + layout.pavement / 2 + 6)
    site.box((x, middle, 0), (layout.pavement + 12, length, _KERB), stone, slabs, casts_shadow=False)
    site.box((side * (layout.road / 2 + 0.07), middle, 0), (0.15, length, _KERB + 0.005), stone, casts_shadow=False)

    y = layout.start
    while y < layout.end - 4:
        width = min(float(rng.uniform(6, 13)), layout.end - y)
        setback = float(rng.choice([0, 0, 0, 0.6, 2.5]))
        plot = site.at(side * (layout.front + setback), y + width / 2, _KERB, side * np.pi / 2)
        if rng.random() < 0.86:
            streetware.building(plot, rng, width, 8.0)
        else:
            _garden(plot, rng, width)
        y += width

    y = layout.start + float(rng.uniform(0, 6))
    parked = rng.random() < 0.75 and layout.road > 5
    while y < layout.end - 3:
        if parked and rng.random() < 0.5:
            turn = float(rng.normal(0, 0.02)) + (0 if side > 0 else np.pi)
            streetware.car(site.at(side * (layout.road / 2 - 1.05), y, 0, turn), rng)
        y += float(rng.uniform(5.4, 7.5))
    _pavement(site, rng, layout, side)


def _garden(plot: Site, rng: np.random.Generator, width: float) -> None:
    """A gap between houses: a wall with trees behind it."""
    bricks = Material(Tiles(vary(rng, (0.55, 0.33, 0.27)), (0.66, 0.63, 0.6), 0.25, 0.08, 0.012))
    plot.box((0, -0.15, 0), (width, 0.3, float(rng.uniform(0.9, 1.9))), bricks)
    plot.box((0, -4.5, 0), (width, 7, 0.05), Material(Speckle((0.34, 0.46, 0.22), 0.4, 0.15, 3)), casts_shadow=False)
    for _ in range(2):
        x = float(rng.uniform(-0.35, 0.35)) * width
        streetware.tree(plot.at(x, -float(rng.uniform(2.5, 5))), rng)


def _park(site: Site, rng: np.random.Generator) -> None:
    """Grass and rows of trees across the street's end."""
    grass = Material(Speckle((0.36, 0.47, 0.24), 0.4, 0.2, 3))
    site.box((0, 60, 0), (160, 110, _KERB), grass, casts_shadow=False)
    for x in np.arange(-20, 21, 4.0):
        for y in (9.0, 14.0):
            streetware.tree(site.at(float(x + rng.normal()), float(y + rng.normal())), rng, 2)


def _pavement(site: Site, rng: np.random.Generator, layout: Layout, side: int) -> None:
    """Trees, lamp posts, signs, people, bins and bollards."""
    by_kerb, by_front = layout.road / 2 + 0.45, layout.front - 0.6
    trees = rng.random() < 0.5
    y = layout.start + float(rng.uniform(0, 8))
    while y < layout.end - 1:
        spot = site.at(side * by_kerb, y, _KERB)
        kind = rng.random()
        if trees and kind < 0.45:
            streetware.tree(spot, rng)
        elif kind < 0.65:
            streetware.lamp_post(spot.at(0, 0, 0, side * np.pi / 2))
        elif kind < 0.75:
            streetware.sign(spot, rng)
        elif kind < 0.87:
            streetware.litter_bin(spot, rng)
        else:
            for step in range(4):
                streetware.bollard(spot.at(0, step * 1.2))
        y += float(rng.uniform(5, 11))
    for _ in range(int(rng.integers(0, 5))):
        across = float(rng.uniform(by_kerb, by_front))
        turn = float(rng.uniform(0, 6.3))
        streetware.person(site.at(side * across, float(rng.uniform(1, layout.end)), _KERB, turn), rng)


def _sun(rng: np.random.Generator) -> Lamp:
    azimuth, climb = float(rng.uniform(0, 2 * np.pi)), float(np.deg2rad(rng.uniform(35, 68)))
    towards = (np.cos(azimuth) * np.cos(climb), np.sin(azimuth) * np.cos(climb), np.sin(climb))
    power = float(rng.uniform(1.8, 3.6)) * _SUN_AWAY**2
    position = (float(towards[0]) * _SUN_AWAY, float(towards[1]) * _SUN_AWAY, float(towards[2]) * _SUN_AWAY)
    return Lamp(position, (power, power * 0.94, power * 0.82))


def _day(rng: np.random.Generator, solids: list[Solid]) -> Scene:
    """The street's solids under a sun, a sky and some haze."""
    blue = float(rng.uniform(0.8, 1.2))
    return Scene(
        tuple(solids),
        (_sun(rng),),
        above=(0.5 * blue, 0.57 * blue, 0.68 * blue),
        below=(0.24, 0.22, 0.2),
        sky=(0.24 * blue, 0.46 * blue, 0.95 * blue),
        horizon=(0.8 * blue, 0.9 * blue, 1.02 * blue),
        haze=float(rng.uniform(0.003, 0.012)),
    )
