"""Synthetic rooms: four walls, a door, windows and pictures, furniture along the walls and in the middle, lamps."""

from dataclasses import dataclass

import numpy as np

from . import furniture
from .shading import Lamp, Scene
from .shapes import Material
from .site import Site, paint, pick, vary
from .textures import Checks, Colour, Speckle, Stripes, Texture, Tiles

_WALLS: tuple[Colour, ...] = (
    (0.86, 0.83, 0.76),
    (0.74, 0.8, 0.82),
    (0.82, 0.72, 0.6),
    (0.7, 0.77, 0.66),
    (0.88, 0.87, 0.86),
    (0.78, 0.62, 0.55),
    (0.6, 0.66, 0.74),
)
_WHITE: Colour = (0.9, 0.89, 0.87)


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
            x = float(rng.uniform(-room, room))
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
    size = float(rng.uniform(2.7, 5.4)), float(rng.uniform(3.2, 7.6)), float(rng.uniform(2.35, 3.1))
    site = Site()
    wall, floor = _wall_pattern(rng), _floor_pattern(rng)
    ceiling = paint(_WHITE, 0.02)
    site.box((0, 0, 0), size, Material(wall), ceiling, Material(floor), casts_shadow=False)
    walls = [
        Wall(site.at(0, -size[1] / 2, 0, 0), size[0], []),
        Wall(site.at(size[0] / 2, 0, 0, np.pi / 2), size[1], []),
        Wall(site.at(0, size[1] / 2, 0, np.pi), size[0], []),
        Wall(site.at(-size[0] / 2, 0, 0, -np.pi / 2), size[1], []),
    ]
    lamps = [_ceiling_lamp(site, rng, size)]
    for along in walls:
        along.site.box((0, 0.008, 0), (along.length, 0.016, 0.1), paint(_WHITE, 0.02), casts_shadow=False)
    _openings(walls, rng, lamps)
    for along in walls:
        _furnish(along, rng, size[2], lamps)
    _middle(site, rng, size)
    warmth = float(rng.uniform(0.16, 0.3))
    scene = Scene(
        tuple(site.solids), tuple(lamps), (warmth, warmth, warmth), (0.9 * warmth, 0.8 * warmth, 0.7 * warmth)
    )
    return scene, size


def _wall_pattern(rng: np.random.Generator) -> Texture:
    colour = vary(rng, pick(rng, _WALLS), 0.04)
    darker = (colour[0] * 0.86, colour[1] * 0.86, colour[2] * 0.86)
    options: list[Texture] = [
        Speckle(colour, 0.05, 0.3, 3),
        Stripes(colour, darker, float(rng.uniform(0.16, 0.4))),
        Tiles(vary(rng, (0.62, 0.36, 0.28)), (0.72, 0.68, 0.62), 0.25, 0.08, 0.012),
        Tiles(colour, darker, 0.3, 0.3, 0.008, 0, 0.05),
        Speckle(colour, 0.1, 0.08, 2),
    ]
    return options[rng.choice(len(options), p=[0.35, 0.25, 0.15, 0.1, 0.15])]


def _floor_pattern(rng: np.random.Generator) -> Texture:
    board = vary(rng, pick(rng, furniture.WOODS[:4]))
    dark = (board[0] * 0.5, board[1] * 0.5, board[2] * 0.5)
    stone = vary(rng, (0.72, 0.68, 0.62), 0.08)
    options: list[Texture] = [
        Tiles(board, dark, 1.2, 0.14, 0.008, 0.37, 0.22),
        Checks(vary(rng, (0.85, 0.83, 0.78)), vary(rng, (0.3, 0.32, 0.34)), 0.3),
        Tiles(stone, (0.5, 0.48, 0.45), 0.4, 0.4, 0.012, 0, 0.12),
        Speckle(vary(rng, pick(rng, furniture.CLOTHS)), 0.16, 0.04, 2),
    ]
    return options[rng.choice(len(options), p=[0.45, 0.2, 0.2, 0.15])]


def _ceiling_lamp(site: Site, rng: np.random.Generator, size: tuple[float, float, float]) -> Lamp:
    x, y = float(rng.uniform(-0.2, 0.2)) * size[0], float(rng.uniform(-0.25, 0.25)) * size[1]
    drop = float(rng.uniform(0.3, 0.7))
    site.cylinder((x, y, size[2] - drop), 0.008, drop, paint((0.2, 0.2, 0.2)), casts_shadow=False)
    radius = float(rng.uniform(0.1, 0.18))
    site.ball(
        (x, y, size[2] - drop), (radius, radius, radius), paint((0.98, 0.93, 0.82), 0, glow=3.5), casts_shadow=False
    )
    power = float(rng.uniform(2.2, 3.6))
    return Lamp((x, y, size[2] - drop), (power, power * 0.92, power * 0.78))


def _openings(walls: list[Wall], rng: np.random.Generator, lamps: list[Lamp]) -> None:
    """A door in one wall, windows and pictures in others."""
    door_wall = walls[int(rng.integers(4))]
    if (x := door_wall.find(rng, 1.0)) is not None:
        door_wall.site.box((x, 0.02, 0), (0.98, 0.05, 2.1), paint(_WHITE))
        door_wall.site.box((x, 0.03, 0), (0.82, 0.05, 2.02), furniture.wood(rng))
        door_wall.site.ball((x + 0.32, 0.08, 1.02), (0.035, 0.035, 0.035), paint((0.8, 0.72, 0.5)))
    for wall in walls:
        width = float(rng.uniform(0.9, 1.5))
        if wall is door_wall or rng.random() < 0.4 or (x := wall.find(rng, width)) is None:
            continue
        wall.site.box((x, 0.02, 0.88), (width, 0.05, 1.26), paint(_WHITE))
        for side in (-1, 1):
            pane = paint((0.55, 0.61, 0.68), 0.12, 0.5, glow=3.0)
            wall.site.box((x + side * width / 4, 0.03, 0.95), (width / 2 - 0.09, 0.045, 1.12), pane)
        wall.site.box((x, 0.07, 0.85), (width + 0.1, 0.16, 0.03), paint(_WHITE))
        if len(lamps) == 1:
            inside, power = wall.site.at(x, 0.5, 1.6), float(rng.uniform(0.7, 1.6))
            lamps.append(Lamp((inside.x, inside.y, inside.z), (0.75 * power, 0.88 * power, power)))


def _furnish(wall: Wall, rng: np.random.Generator, ceiling: float, lamps: list[Lamp]) -> None:
    """Two or three pieces along a wall, and pictures where it is free."""
    for _ in range(int(rng.integers(1, 4))):
        kind = pick(rng, ("wardrobe", "bookcase", "sofa", "bed", "sideboard", "plant", "lamp", "crate", "chair"))
        low, high = {
            "wardrobe": (0.9, 1.4),
            "bookcase": (0.7, 1.2),
            "sofa": (1.5, 2.1),
            "bed": (0.95, 1.6),
            "sideboard": (1.0, 1.6),
        }.get(kind, (0.6, 0.7))
        width = float(rng.uniform(low, high))
        if (kind == "lamp" and len(lamps) > 2) or (x := wall.find(rng, width)) is None:
            continue
        spot, height = wall.site.at(x, 0.03), float(rng.uniform(0.5, 0.85)) * ceiling
        match kind:
            case "wardrobe":
                furniture.wardrobe(spot, rng, width, max(height, 1.7))
            case "bookcase":
                furniture.bookcase(spot, rng, width, height)
            case "sofa":
                furniture.sofa(spot, rng, width)
            case "bed":
                furniture.bed(spot, rng, width)
            case "sideboard":
                furniture.sideboard(spot, rng, width)
            case "plant":
                furniture.plant(spot, rng)
            case "lamp":
                power = float(rng.uniform(0.5, 1.2))
                lamps.append(Lamp(furniture.floor_lamp(spot, rng), (power, power * 0.85, power * 0.6)))
            case "crate":
                furniture.crate(spot, rng)
            case _:
                furniture.chair(spot.at(0, 0.35), rng)
    width = float(rng.uniform(0.4, 0.9))
    if (x := wall.find(rng, width)) is not None:
        wall.site.box((x, 0.015, 1.3), (width, 0.03, 0.75 * width), furniture.wood(rng))
        wall.site.box((x, 0.02, 1.34), (width - 0.08, 0.035, 0.75 * width - 0.08), furniture.cloth(rng))


def _middle(site: Site, rng: np.random.Generator, size: tuple[float, float, float]) -> None:
    """Perhaps a rug and a table with chairs in the middle of the room."""
    if min(size[:2]) < 3.3 or rng.random() < 0.25:
        return
    x, y = float(rng.uniform(-0.12, 0.12)) * size[0], float(rng.uniform(-0.12, 0.12)) * size[1]
    spot = site.at(x, y, 0, float(rng.normal(0, 0.15)))
    if rng.random() < 0.6:
        spot.box((0, 0, 0), (2.0, 1.5, 0.012), furniture.cloth(rng))
    table_size = float(rng.uniform(0.8, 1.3)), float(rng.uniform(0.6, 0.9))
    furniture.table(spot, rng, table_size, pick(rng, (0.45, 0.74, 0.74)))
    for side in (-1, 1):
        if rng.random() < 0.7:
            turn = 0 if side < 0 else np.pi
            furniture.chair(spot.at(0, side * (table_size[1] / 2 + 0.25), 0, turn + float(rng.normal(0, 0.2))), rng)
