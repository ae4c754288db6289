"""Synthetic streets: a road between pavements, rows of houses, parked cars, trees, and the light of an hour of day."""

from dataclasses import dataclass

import numpy as np

from . import street_objects as objects
from .materials import Colour, paint, shade, stripes, tiles
from .shading import Scene
from .site import Site, pick, vary

_SUN_AWAY = 1000.0  # metres
_KERB = 0.13  # metres above the road
_START = -14.0  # where the houses begin, metres along the street


@dataclass(frozen=True)
class Hour:
    """The light of a time of day, linear RGB: `climb` of the sun is in degrees, `brightness` as in `Scene`."""

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


def street(rng: np.random.Generator) -> tuple[Scene, float, float]:
    """Build a street along the world's y axis, with the road's middle at x = 0.

    Args:
        rng: Decides everything about it.

    Returns:
        The scene, the distance of the houses' fronts from the road's middle, and the y where they end, metres.
    """
    name = pick(rng, tuple(_HOURS))
    site = Site(by_day=name != "night")
    end, road, pavement = rng.uniform(14, 50), rng.uniform(4.5, 8.5), rng.uniform(1.6, 3.6)
    colour = vary(rng, (0.36, 0.36, 0.37), 0.025)
    asphalt, line = paint(colour, 0.25, 0.12), stripes((0.86, 0.86, 0.82), colour, 5.0, 0.45)
    surface = site.named("road", asphalt)
    surface.box((0, 0, -1), (2000, 2000, 1), asphalt, casts_shadow=False)
    surface.at(0, end, 0, np.pi / 2).box((0, 0, 0), (140, 0.14, 0.004), line, casts_shadow=False)
    for side in (-1, 1):
        _ground(site, rng, side * road / 2, pavement, end)
        _houses(site.at(0, 0, _KERB), rng, side, road / 2 + pavement, end)
        _parked(site, rng, side * (road / 2 - 1.05), end, 0.5 if road > 5 and rng.random() < 0.75 else 0)
        _on_pavement(site.at(0, 0, _KERB), rng, side, road / 2 + 0.45, road / 2 + pavement - 0.6, end)
    if rng.random() < 0.7:
        objects.house(site.at(0, end + 6, 0, np.pi), rng, road + 2 * pavement + 16, 9)
    else:
        _park(site.at(0, end), rng)
    for _ in range(int(rng.integers(0, 3))):
        lane = pick(rng, (-1, 1))
        objects.car(site.at(lane * road / 4, rng.uniform(4, end), 0, 0 if lane > 0 else np.pi), rng)
    return _lit(site, rng, name), road / 2 + pavement, end


def _ground(site: Site, rng: np.random.Generator, kerb: float, pavement: float, end: float) -> None:
    """Pavement with a kerb at x = `kerb` and paved ground behind it."""
    length, middle, side = end - _START, (end + _START) / 2, np.sign(kerb)
    slabs = tiles(vary(rng, (0.66, 0.64, 0.6), 0.04), (0.42, 0.41, 0.39), (0.6, 0.6), 0.025, 0.5, 0.12)
    site = site.named("pavement", slabs)
    width = pavement + 12
    site.box((kerb + side * width / 2, middle, 0), (width, length, _KERB), slabs, casts_shadow=False)
    stone = paint(vary(rng, (0.72, 0.71, 0.68), 0.03), 0.1)
    site.box((kerb + side * 0.07, middle, 0), (0.15, length, _KERB + 0.005), stone, casts_shadow=False)


def _houses(site: Site, rng: np.random.Generator, side: int, front: float, end: float) -> None:
    """Houses and gardens side by side."""
    y = _START
    while y < end - 4:
        width = min(rng.uniform(6, 13), end - y)
        setback = float(rng.choice([0, 0, 0, 0.6, 2.5]))
        plot = site.at(side * (front + setback), y + width / 2, 0, side * np.pi / 2)
        if rng.random() < 0.86:
            objects.house(plot, rng, width, 8.0)
        else:
            _garden(plot, rng, width)
        y += width


def _garden(plot: Site, rng: np.random.Generator, width: float) -> None:
    """A gap between houses: a wall with trees behind it."""
    wall, grass = objects.bricks(rng), paint((0.34, 0.46, 0.22), 0.4, 0.15, 3)
    plot.named("garden wall", wall).box((0, -0.15, 0), (width, 0.3, rng.uniform(0.9, 1.9)), wall)
    plot.named("grass", grass).box((0, -4.5, 0), (width, 7, 0.05), grass, casts_shadow=False)
    for _ in range(2):
        objects.tree(plot.at(rng.uniform(-0.35, 0.35) * width, -rng.uniform(2.5, 5)), rng)


def _park(site: Site, rng: np.random.Generator) -> None:
    """Grass and rows of trees across the street's end."""
    grass = paint((0.36, 0.47, 0.24), 0.4, 0.2, 3)
    site.named("grass", grass).box((0, 60, 0), (160, 110, _KERB), grass, casts_shadow=False)
    for x in range(-20, 21, 4):
        for y in (9, 14):
            objects.tree(site.at(x + rng.normal(), y + rng.normal()), rng, 2)


def _parked(site: Site, rng: np.random.Generator, x: float, end: float, share: float) -> None:
    """Cars parked along the line at `x`, in this share of the places."""
    y = _START + rng.uniform(0, 6)
    while y < end - 3:
        if rng.random() < share:
            objects.car(site.at(x, y, 0, rng.normal(0, 0.02) + (0 if x > 0 else np.pi)), rng)
        y += rng.uniform(5.4, 7.5)


def _on_pavement(site: Site, rng: np.random.Generator, side: int, kerb: float, front: float, end: float) -> None:
    """Trees, lamp posts, signs, bins and bollards along the kerb, and people between it and the houses."""
    trees = rng.random() < 0.5
    y = _START + rng.uniform(0, 8)
    while y < end - 1:
        spot, kind = site.at(side * kerb, y), rng.random()
        if trees and kind < 0.4:
            objects.tree(spot, rng)
        elif kind < 0.65:
            objects.lamp_post(spot.at(0, 0, 0, side * np.pi / 2))
        elif kind < 0.75:
            objects.sign(spot, rng)
        elif kind < 0.87:
            objects.litter_bin(spot, rng)
        else:
            for step in range(4):
                objects.bollard(spot.at(0, step * 1.2))
        y += rng.uniform(5, 11)
    for _ in range(int(rng.integers(0, 5))):
        objects.person(site.at(side * rng.uniform(kerb, front), rng.uniform(1, end), 0, rng.uniform(0, 6.3)), rng)


def _lit(site: Site, rng: np.random.Generator, name: str) -> Scene:
    """The street under the light of an hour of day and some haze."""
    hour, strength = _HOURS[name], rng.uniform(0.8, 1.2)
    azimuth, climb = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(*hour.climb))
    towards = np.cos(azimuth) * np.cos(climb), np.sin(azimuth) * np.cos(climb), np.sin(climb)
    if any(hour.sun):
        x, y, z = (float(a) * _SUN_AWAY for a in towards)
        site.lamp((x, y, z), shade(hour.sun, strength * _SUN_AWAY**2))
    return Scene(
        tuple(site.solids),
        tuple(site.things),
        tuple(site.lamps),
        above=hour.above,
        below=shade(hour.above, 0.4),
        sky=hour.sky,
        horizon=hour.horizon,
        haze=rng.uniform(0.003, 0.012),
        brightness=hour.brightness,
        light=name,
    )
