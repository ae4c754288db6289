"""Synthetic rooms: four walls, a door, windows and pictures, furniture along the walls and in the middle, lamps."""

from dataclasses import dataclass

import numpy as np

from . import furniture
from .materials import Material, paint, palette, shade, stripes, tiles
from .shading import Scene
from .site import Site, pick, vary

_WALLS = palette("dbd4c2 bdccd1 d1b899 adc7a1 e0dedb cc948a 94a8c4")
_WHITE = paint((0.9, 0.89, 0.87), 0.02)
_ALONG_WALLS = (  # builders, and how much of the wall they take, metres
    (furniture.wardrobe, 0.9, 1.4),
    (furniture.bookcase, 0.7, 1.2),
    (furniture.sofa, 1.5, 2.1),
    (furniture.bed, 0.95, 1.6),
    (furniture.cupboard, 1.0, 1.6),
    (furniture.plant, 0.6, 0.7),
    (furniture.floor_lamp, 0.6, 0.7),
    (furniture.crate, 0.6, 0.7),
    (furniture.chair, 0.6, 0.7),
)


@dataclass
class Wall:
    """One wall: a site with its middle at the floor, x along the wall, y into the room; `taken` holds spans in x."""

    site: Site
    length: float
    taken: list[tuple[float, float]]

    def find(self, rng: np.random.Generator, width: float) -> float | None:
        """A free stretch of `width` metres: the x of its middle, now taken, or None if a few tries found none."""
        room = self.length / 2 - 0.08 - width / 2
        for _ in range(8 if room > 0 else 0):
            x = rng.uniform(-room, room)
            if all(x + width / 2 < low or x - width / 2 > high for low, high in self.taken):
                self.taken.append((x - width / 2, x + width / 2))
                return x
        return None


def room(rng: np.random.Generator) -> tuple[Scene, tuple[float, float, float]]:
    """Furnish a room.

    Args:
        rng: Decides everything about it.

    Returns:
        The scene and the room's size in metres; the floor's middle is the world's origin.
    """
    width, depth, height = rng.uniform(2.7, 5.4), rng.uniform(3.2, 7.6), rng.uniform(2.35, 3.1)
    site = Site(by_day=rng.random() < 0.5)
    walls = _shell(site, rng, width, depth, height)
    _ceiling_lamp(site.at(rng.uniform(-0.2, 0.2) * width, rng.uniform(-0.25, 0.25) * depth, height), rng)
    _openings(walls, rng)
    for wall in walls:
        _furnish(wall, rng)
    if min(width, depth) > 3.3 and rng.random() < 0.75:
        _middle(site.at(rng.uniform(-0.12, 0.12) * width, rng.uniform(-0.12, 0.12) * depth), rng)
    ambient = rng.uniform(0.16, 0.3)
    tint = (0.95, 1.0, 1.08) if site.by_day else (1.0, 0.93, 0.82)
    scene = Scene(
        tuple(site.solids),
        tuple(site.things),
        tuple(site.lamps),
        above=shade(tint, ambient),
        below=shade((0.9, 0.8, 0.7), ambient),
        light="daylight" if site.by_day else "lamp light",
    )
    return scene, (width, depth, height)


def _shell(site: Site, rng: np.random.Generator, width: float, depth: float, height: float) -> list[Wall]:
    """Floor, ceiling and walls around the origin; the walls in turn."""
    pattern, floor = _wall_pattern(rng), _floor_pattern(rng)
    around = site.named("wall", pattern)
    around.box((0, 0, -0.05), (width, depth, height + 0.1), pattern, casts_shadow=False)
    site.named("floor", floor).box((0, 0, -0.1), (width, depth, 0.1), floor, casts_shadow=False)
    site.named("ceiling", _WHITE).box((0, 0, height), (width, depth, 0.1), _WHITE, casts_shadow=False)
    walls = []
    for quarter, (length, away) in enumerate(((width, depth), (depth, width), (width, depth), (depth, width))):
        turned = around.at(0, 0, 0, quarter * np.pi / 2).at(0, -away / 2)
        turned.box((0, 0.008, 0), (length, 0.016, 0.1), _WHITE, casts_shadow=False)
        walls.append(Wall(turned, length, []))
    return walls


def _wall_pattern(rng: np.random.Generator) -> Material:
    colour = vary(rng, pick(rng, _WALLS), 0.04)
    patterns = [
        paint(colour, 0.05, 0.3, 3),
        paint(colour, 0.1, 0.08),
        stripes(colour, shade(colour, 0.86), rng.uniform(0.16, 0.4)),
        tiles(vary(rng, (0.62, 0.36, 0.28)), (0.72, 0.68, 0.62), (0.25, 0.08), 0.012),
        tiles(colour, shade(colour, 0.86), (0.3, 0.3), 0.008, 0, 0.05),
    ]
    return patterns[rng.choice(len(patterns), p=[0.35, 0.15, 0.25, 0.15, 0.1])]


def _floor_pattern(rng: np.random.Generator) -> Material:
    board, stone = vary(rng, pick(rng, furniture.WOODS[:4])), vary(rng, (0.72, 0.68, 0.62), 0.08)
    patterns = [
        tiles(board, shade(board, 0.5), (1.2, 0.14), 0.008, 0.37, 0.22),
        stripes(vary(rng, (0.85, 0.83, 0.78)), vary(rng, (0.3, 0.32, 0.34)), 0.6, checked=True),
        tiles(stone, shade(stone, 0.7), (0.4, 0.4), 0.012, 0, 0.12),
        paint(vary(rng, pick(rng, furniture.CLOTHS)), 0.16, 0.04),
    ]
    return patterns[rng.choice(len(patterns), p=[0.45, 0.2, 0.2, 0.15])]


def _ceiling_lamp(site: Site, rng: np.random.Generator) -> None:
    drop, radius, power = rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.18), rng.uniform(2.2, 3.6)
    globe = paint((0.98, 0.93, 0.82), 0, glow=0.3 if site.by_day else 3.5)
    lamp = site.named("lamp", globe).at(0, 0, -drop)
    lamp.cylinder((0, 0, 0), 0.008, drop, paint((0.2, 0.2, 0.2)), casts_shadow=False)
    lamp.ball((0, 0, 0), (radius, radius, radius), globe, casts_shadow=False)
    if not site.by_day:
        lamp.lamp((0, 0, 0), (power, power * 0.9, power * 0.74))


def _openings(walls: list[Wall], rng: np.random.Generator) -> None:
    """A door in one wall, a window in the wall opposite, perhaps windows in the others."""
    first = int(rng.integers(4))
    if (x := walls[first].find(rng, 1.0)) is not None:
        leaf = furniture.wood(rng)
        door = walls[first].site.named("door", leaf).at(x, 0)
        door.box((0, 0.02, 0), (0.98, 0.05, 2.1), _WHITE)
        door.box((0, 0.03, 0), (0.82, 0.05, 2.02), leaf)
        door.ball((0.32, 0.08, 1.02), (0.035, 0.035, 0.035), paint((0.8, 0.72, 0.5)))
    for step in (2, 1, 3):
        wall, width = walls[(first + step) % 4], rng.uniform(0.9, 1.5)
        if (step == 2 or rng.random() < 0.4) and (x := wall.find(rng, width)) is not None:
            _window(wall.site.at(x, 0), rng, width)


def _window(site: Site, rng: np.random.Generator, width: float) -> None:
    """A window of two panes; by day light comes in through it."""
    pane = paint((0.55, 0.61, 0.68), 0.12, 0.5, glow=3.0) if site.by_day else paint((0.08, 0.1, 0.16), 0.2, 0.5)
    window = site.named("window")
    window.box((0, 0.02, 0.88), (width, 0.05, 1.26), _WHITE)
    for side in (-1, 1):
        window.box((side * width / 4, 0.03, 0.95), (width / 2 - 0.09, 0.045, 1.12), pane)
    window.box((0, 0.07, 0.85), (width + 0.1, 0.16, 0.03), _WHITE)
    if site.by_day:
        power = rng.uniform(1.6, 2.8)
        site.lamp((0, 0.5, 1.6), (0.8 * power, 0.9 * power, power))


def _furnish(wall: Wall, rng: np.random.Generator) -> None:
    """Up to three pieces along a wall, and a picture where it is free."""
    for _ in range(int(rng.integers(1, 4))):
        build, low, high = pick(rng, _ALONG_WALLS)
        width = rng.uniform(low, high)
        if (x := wall.find(rng, width)) is not None:
            build(wall.site.at(x, 0.03), rng, width)
    width = rng.uniform(0.4, 0.9)
    if (x := wall.find(rng, width)) is not None:
        frame, canvas = furniture.wood(rng), furniture.cloth(rng)
        picture = wall.site.named("picture", canvas).at(x, 0, 1.3)
        picture.box((0, 0.015, 0), (width, 0.03, 0.75 * width), frame)
        picture.box((0, 0.02, 0.04), (width - 0.08, 0.035, 0.75 * width - 0.08), canvas)


def _middle(site: Site, rng: np.random.Generator) -> None:
    """Perhaps a rug, and a table with chairs."""
    site = site.at(0, 0, 0, rng.normal(0, 0.15))
    if rng.random() < 0.6:
        cloth = furniture.cloth(rng)
        site.named("rug", cloth).box((0, 0, 0), (2.0, 1.5, 0.012), cloth)
    width, depth = rng.uniform(0.8, 1.3), rng.uniform(0.6, 0.9)
    furniture.table(site, rng, width, depth)
    for turn in (0, np.pi):
        if rng.random() < 0.7:
            furniture.chair(site.at(0, 0, 0, turn + rng.normal(0, 0.2)).at(0, -depth / 2 - 0.5), rng, 0.6)
