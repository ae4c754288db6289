"""Synthetic rooms: four walls with windows, doors, pictures and furniture along them, a table in the middle, lamps."""

import numpy as np

from .furniture import CLOTHS, PIECES, WHITE, WOODS, chair, cloth, table, window
from .materials import Material, paint, palette, shade, stripes, tiles
from .shading import Scene
from .site import Site, pick, row, vary

WALLS = palette("dbd4c2 bdccd1 d1b899 adc7a1 e0dede cc948a 94a8c4")


def room(rng: np.random.Generator) -> Scene:
    """Furnish a room; the middle of its floor is the world's origin."""
    width, depth, height = rng.uniform(2.7, 5.4), rng.uniform(3.2, 7.6), rng.uniform(2.35, 3.1)
    site = Site(by_day=rng.random() < 0.5)
    _shell(site, rng, width, depth, height)
    lit = pick(rng, (0, 2))  # the wall with a window for certain
    # The longer walls leave their corners to what stands along the others.
    for quarter, (length, away) in enumerate([(width - 0.1, depth), (depth - 1.5, width)] * 2):
        wall = site.at(0, 0, 0, quarter * np.pi / 2).at(0, 0.015 - away / 2)
        row(wall, rng, length, PIECES, (0.05, 0.8), (window, 0.9, 1.5) if quarter == lit else None)
    _ceiling_lamp(site.at(rng.uniform(-0.2, 0.2) * width, rng.uniform(-0.25, 0.25) * depth, height), rng)
    if min(width, depth) > 3.3 and rng.random() < 0.75:
        _middle(
            site.at(rng.uniform(-0.12, 0.12) * width, rng.uniform(-0.12, 0.12) * depth, 0, rng.normal(0, 0.15)), rng
        )
    x, y, ambient = width / 2 - 0.3, depth / 2 - 0.3, rng.uniform(0.16, 0.3)
    return Scene(
        "room",
        ((-x, -y, 0.6), (x, y, min(2.2, height - 0.3))),
        site.solids,
        site.things,
        site.lamps,
        above=shade((0.95, 1.0, 1.08) if site.by_day else (1.0, 0.93, 0.82), ambient),
        below=shade((0.9, 0.8, 0.7), ambient),
        light="daylight" if site.by_day else "lamp light",
    )


def _shell(site: Site, rng: np.random.Generator, width: float, depth: float, height: float) -> None:
    """Floor, ceiling and walls with a skirting board around the origin."""
    pattern, floor = _wall_pattern(rng), _floor_pattern(rng)
    site.named("floor", floor).shadowless().box((0, 0, -0.1), (width, depth, 0.1), floor)
    site.named("ceiling", WHITE).shadowless().box((0, 0, height), (width, depth, 0.1), WHITE)
    walls = site.named("wall", pattern).shadowless()
    walls.box((0, 0, -0.05), (width, depth, height + 0.1), pattern)
    for side in (-1, 1):
        walls.box((side * width / 2, 0, 0), (0.03, depth, 0.1), WHITE)
        walls.box((0, side * depth / 2, 0), (width, 0.03, 0.1), WHITE)


def _wall_pattern(rng: np.random.Generator) -> Material:
    colour = vary(rng, WALLS, 0.04)
    patterns = [
        paint(colour, 0.05, 0.3, 3),
        paint(colour, 0.1, 0.08),
        stripes(colour, shade(colour, 0.86), rng.uniform(0.16, 0.4)),
        tiles(vary(rng, (0.62, 0.36, 0.28)), (0.72, 0.68, 0.62), (0.25, 0.08), 0.012),
        tiles(colour, shade(colour, 0.86), (0.3, 0.3), 0.008, 0, 0.05),
    ]
    return patterns[rng.choice(len(patterns), p=[0.35, 0.15, 0.25, 0.15, 0.1])]


def _floor_pattern(rng: np.random.Generator) -> Material:
    board, stone = vary(rng, WOODS[:4]), vary(rng, (0.72, 0.68, 0.62), 0.08)
    patterns = [
        tiles(board, shade(board, 0.5), (1.2, 0.14), 0.008, 0.37, 0.22),
        stripes(vary(rng, (0.85, 0.83, 0.78)), vary(rng, (0.3, 0.32, 0.34)), 0.6, checked=True),
        tiles(stone, shade(stone, 0.7), (0.4, 0.4), 0.012, 0, 0.12),
        paint(vary(rng, CLOTHS), 0.16, 0.04),
    ]
    return patterns[rng.choice(len(patterns), p=[0.45, 0.2, 0.2, 0.15])]


def _ceiling_lamp(site: Site, rng: np.random.Generator) -> None:
    drop, radius, power = rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.18), rng.uniform(2.2, 3.6)
    globe = paint((0.98, 0.93, 0.82), 0, glow=0.3 if site.by_day else 3.5)
    site = site.named("lamp").at(0, 0, -drop).shadowless()
    site.cylinder((0, 0, 0), 0.008, drop, paint((0.2, 0.2, 0.2)))
    site.ball((0, 0, 0), (radius, radius, radius), globe)
    if not site.by_day:
        site.lamp((0, 0, 0), (power, power * 0.9, power * 0.74))


def _middle(site: Site, rng: np.random.Generator) -> None:
    """Perhaps a rug, and a table with up to two chairs."""
    if rng.random() < 0.6:
        material = cloth(rng)
        site.named("rug", material).box((0, 0, 0), (2.0, 1.5, 0.012), material)
    table(site, rng, rng.uniform(0.8, 1.3))
    for turn in (0, np.pi):
        if rng.random() < 0.7:
            chair(site.at(0, 0, 0, turn + rng.normal(0, 0.2)).at(0, rng.uniform(-1, -0.85)), rng, 0.6)
