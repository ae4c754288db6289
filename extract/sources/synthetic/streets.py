"""Synthetic streets: a road between pavements, rows of houses, cars, trees and people, and the light of an hour."""

from dataclasses import dataclass

import numpy as np

from .materials import Colour, paint, shade, stripes, tiles
from .shading import Scene
from .site import Site, pick, row, vary
from .street_objects import GRASS, HOUSES, ON_PAVEMENT, PEOPLE, car, house, tree

_SUN_AWAY = 1000.0  # metres
_KERB = 0.13  # metres above the road
_START = -14.0  # where the houses begin, metres along the street


@dataclass(frozen=True)
class Hour:
    """The light of a time of day, linear RGB; `climb` of the sun in degrees, the rest as in `Scene`."""

    climb: tuple[float, float]
    sun: Colour
    above: Colour
    sky: Colour
    horizon: Colour
    brightness: float = 0.4


_HOURS = {
    "morning": Hour((18, 30), (2.6, 2.0, 1.25), (0.44, 0.45, 0.5), (0.32, 0.46, 0.8), (1.0, 0.84, 0.6)),
    "noon": Hour((50, 72), (3.2, 3.0, 2.6), (0.5, 0.57, 0.68), (0.22, 0.44, 0.95), (0.8, 0.9, 1.02), 0.45),
    "evening": Hour((8, 16), (2.6, 1.3, 0.5), (0.36, 0.3, 0.36), (0.2, 0.22, 0.42), (0.8, 0.4, 0.2), 0.26),
    "overcast": Hour((50, 70), (0.0, 0.0, 0.0), (0.75, 0.78, 0.82), (0.55, 0.58, 0.62), (0.78, 0.8, 0.83), 0.36),
    "night": Hour((50, 70), (0.0, 0.0, 0.0), (0.02, 0.026, 0.045), (0.004, 0.006, 0.016), (0.016, 0.018, 0.03), 0.12),
}


def street(rng: np.random.Generator) -> Scene:
    """Build a street along the world's y axis, the road's middle at x = 0."""
    name, hour = pick(rng, tuple(_HOURS.items()))
    site = Site(by_day=name != "night")
    end, road, pavement = rng.uniform(14, 50), rng.uniform(4.5, 9.0), rng.uniform(1.6, 3.6)
    grey = vary(rng, (0.36, 0.36, 0.37), 0.025)
    asphalt, dashes = paint(grey, 0.25, 0.12), stripes((0.86, 0.86, 0.82), grey, 5.0, 0.45)
    surface = site.named("road", asphalt).shadowless()
    surface.box((0, 0, -1), (2000, 2000, 1), asphalt)
    surface.at(0, end, 0, np.pi / 2).box((0, 0, 0), (140, 0.14, 0.004), dashes)
    for side in (-1, 1):
        front = site.at(side * (road / 2 + pavement), (end + _START) / 2, _KERB, side * np.pi / 2)
        _side(front, rng, end - _START, pavement, road / 2)
    if rng.random() < 0.7:
        house(site.at(0, end + 6, 0, np.pi), rng, road + 2 * pavement + 16)
    else:
        site.named("grass", GRASS).shadowless().box((0, end + 60, 0), (160, 110, _KERB), GRASS)
        for y in (9, 14):
            row(site.at(0, end + y), rng, 44, [(tree, 0.9, 1.5)], (1, 4))
    x, climb, azimuth = road / 2 + pavement - 0.5, np.deg2rad(rng.uniform(*hour.climb)), rng.uniform(0, 2 * np.pi)
    if any(hour.sun):
        towards = np.cos(azimuth) * np.cos(climb), np.sin(azimuth) * np.cos(climb), np.sin(climb)
        site.lamp(shade(towards, _SUN_AWAY), shade(hour.sun, rng.uniform(0.8, 1.2) * _SUN_AWAY**2))
    return Scene(
        "street",
        ((-x, -6, 0.75), (x, 0.5 * end, 2.2)),
        site.solids,
        site.things,
        site.lamps,
        above=hour.above,
        below=shade(hour.above, 0.4),
        sky=hour.sky,
        horizon=hour.horizon,
        haze=rng.uniform(0.003, 0.012),
        brightness=hour.brightness,
        light=name,
    )


def _side(front: Site, rng: np.random.Generator, length: float, pavement: float, half_road: float) -> None:
    """One side of the street, from a site in the middle of its houses' fronts."""
    slabs = tiles(vary(rng, (0.66, 0.64, 0.6), 0.04), (0.42, 0.41, 0.39), (0.6, 0.6), 0.025, 0.5, 0.12)
    ground = front.named("pavement", slabs).shadowless()
    ground.box((0, pavement / 2 - 6, -_KERB), (length, pavement + 12, _KERB), slabs)
    stone = paint(vary(rng, (0.72, 0.71, 0.68), 0.03), 0.1)
    ground.box((0, pavement - 0.07, -_KERB), (length, 0.15, _KERB + 0.005), stone)
    row(front, rng, length, HOUSES)
    row(front.at(0, pavement - 0.45), rng, length, ON_PAVEMENT, (3, 9))
    row(front.at(0, pavement / 2), rng, length, PEOPLE, (2, 30))
    parked = half_road > 2.8 and rng.random() < 0.75
    if parked:
        row(front.at(0, pavement + 1, -_KERB), rng, length, [(car, 4.9, 5.8)], (0, 8))
    if half_road > 3.8 or not parked:  # there is room to drive
        row(front.at(0, pavement + half_road - 1, -_KERB), rng, length, [(car, 4.9, 5.8)], (5, 60))
