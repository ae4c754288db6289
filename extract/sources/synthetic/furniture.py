"""What stands in the synthetic rooms, each piece built at a site whose y axis points away from the wall behind it."""

import numpy as np

from .shapes import Material
from .site import Site, paint, pick, vary
from .textures import Checks, Colour, Speckle, Stripes, Tiles

WOODS: tuple[Colour, ...] = (
    (0.62, 0.45, 0.29),
    (0.42, 0.28, 0.18),
    (0.78, 0.63, 0.45),
    (0.3, 0.2, 0.15),
    (0.9, 0.88, 0.84),
)
CLOTHS: tuple[Colour, ...] = (
    (0.28, 0.36, 0.5),
    (0.6, 0.28, 0.25),
    (0.45, 0.47, 0.44),
    (0.3, 0.42, 0.33),
    (0.72, 0.62, 0.48),
    (0.75, 0.55, 0.2),
    (0.35, 0.3, 0.4),
)


def wood(rng: np.random.Generator) -> Material:
    """Boards of a random wood."""
    colour = vary(rng, pick(rng, WOODS))
    dark = (colour[0] * 0.75, colour[1] * 0.75, colour[2] * 0.75)
    return Material(Tiles(colour, dark, 2.6, 0.15, 0.003, 0.37, 0.1))


def cloth(rng: np.random.Generator) -> Material:
    """Woven or patterned cloth of a random colour."""
    colour = vary(rng, pick(rng, CLOTHS))
    other = vary(rng, pick(rng, CLOTHS), 0.1)
    return pick(
        rng,
        [
            Material(Speckle(colour, 0.14, 0.03)),
            Material(Speckle(colour, 0.14, 0.05)),
            Material(Stripes(colour, other, float(rng.uniform(0.08, 0.2)))),
            Material(Checks(colour, other, float(rng.uniform(0.05, 0.12)))),
        ],
    )


def legs(site: Site, size: tuple[float, float], height: float, material: Material, thickness: float = 0.05) -> None:
    """Four legs under a rectangle of `size`."""
    for x in (-0.5, 0.5):
        for y in (-0.5, 0.5):
            spot = (x * (size[0] - 1.6 * thickness), y * (size[1] - 1.6 * thickness), 0)
            site.box(spot, (thickness, thickness, height), material)


def table(site: Site, rng: np.random.Generator, size: tuple[float, float], height: float = 0.74) -> None:
    """A table with a fruit bowl or a box on it."""
    material = wood(rng)
    legs(site, size, height - 0.04, material)
    site.box((0, 0, height - 0.04), (*size, 0.04), material)
    spot = (float(rng.uniform(-0.3, 0.3)) * size[0], float(rng.uniform(-0.25, 0.25)) * size[1])
    if rng.random() < 0.5:
        site.ball((*spot, height + 0.1), (0.1, 0.1, 0.1), paint(vary(rng, (0.75, 0.4, 0.2), 0.1)))
    else:
        site.box((*spot, height), (0.3, 0.2, float(rng.uniform(0.08, 0.28))), cloth(rng))


def chair(site: Site, rng: np.random.Generator) -> None:
    """A kitchen chair, its back towards the wall."""
    material, seat = wood(rng), cloth(rng)
    legs(site, (0.44, 0.44), 0.44, material, 0.04)
    site.box((0, 0, 0.44), (0.46, 0.46, 0.05), seat)
    for x in (-0.2, 0.2):
        site.box((x, -0.2, 0.49), (0.04, 0.04, 0.45), material)
    site.box((0, -0.2, 0.68), (0.4, 0.03, 0.24), material)


def sofa(site: Site, rng: np.random.Generator, width: float) -> None:
    """A sofa with arms and cushions."""
    material, cushion = cloth(rng), cloth(rng)
    site.box((0, 0.45, 0.06), (width, 0.88, 0.36), material)
    site.wedge((0, 0.13, 0.4), (width, 0.24, 0.42), (0, 0.3), material)
    for x in (-0.5, 0.5):
        site.box((x * (width - 0.2), 0.47, 0.06), (0.2, 0.86, 0.54), material)
    for x in (-0.3, 0.3):
        site.ball((x * width, 0.36, 0.56), (0.22, 0.1, 0.2), cushion)


def bed(site: Site, rng: np.random.Generator, width: float) -> None:
    """A bed with its head against the wall."""
    material = wood(rng)
    site.box((0, 1.05, 0.1), (width, 2.0, 0.22), material)
    site.box((0, 0.04, 0), (width, 0.06, 1.0), material)
    site.box((0, 1.05, 0.32), (width - 0.08, 1.96, 0.2), paint((0.88, 0.87, 0.84), 0.06))
    site.box((0, 1.4, 0.44), (width - 0.02, 1.32, 0.1), cloth(rng))
    for x in (-0.25, 0.25) if width > 1.2 else (0.0,):
        site.ball((x * width, 0.32, 0.56), (0.32, 0.2, 0.1), paint((0.92, 0.91, 0.89), 0.05))


def wardrobe(site: Site, rng: np.random.Generator, width: float, height: float) -> None:
    """A wardrobe with two doors."""
    material, knob = wood(rng), paint((0.75, 0.72, 0.65))
    site.box((0, 0.29, 0), (width, 0.56, height), material)
    for side in (-1, 1):
        site.box((side * width / 4, 0.575, 0.08), (width / 2 - 0.03, 0.02, height - 0.14), material, casts_shadow=False)
        site.ball((side * 0.06, 0.61, height / 2), (0.025, 0.025, 0.025), knob)


def bookcase(site: Site, rng: np.random.Generator, width: float, height: float) -> None:
    """Shelves with rows of books."""
    material = wood(rng)
    site.box((0, 0.04, 0), (width, 0.03, height), material)
    for side in (-0.5, 0.5):
        site.box((side * width, 0.17, 0), (0.03, 0.3, height), material)
    count = max(2, round(height / 0.38))
    for shelf in range(count + 1):
        z = shelf * (height - 0.03) / count
        site.box((0, 0.17, z), (width, 0.29, 0.03), material)
        if shelf < count:
            filled = float(rng.uniform(0.4, 0.95)) * width
            first, second = (vary(rng, pick(rng, CLOTHS), 0.1) for _ in range(2))
            books = Material(Stripes(first, second, float(rng.uniform(0.06, 0.11)), 0.55))
            tall = float(rng.uniform(0.55, 0.85)) * (height / count)
            site.box(((filled - width) / 2 + 0.02, 0.16, z + 0.03), (filled - 0.04, 0.22, tall), books)


def sideboard(site: Site, rng: np.random.Generator, width: float) -> None:
    """A low cupboard with a television or a lamp on it."""
    material = wood(rng)
    site.box((0, 0.22, 0.08), (width, 0.42, 0.5), material)
    for side in (-1, 1):
        site.box((side * width / 4, 0.435, 0.12), (width / 2 - 0.04, 0.02, 0.42), material, casts_shadow=False)
    if rng.random() < 0.6:
        site.box((0, 0.18, 0.58), (0.4, 0.2, 0.04), paint((0.08, 0.08, 0.09)))
        site.box((0, 0.18, 0.62), (min(width * 0.8, 1.2), 0.05, 0.62), paint((0.06, 0.06, 0.08)))
    else:
        site.cylinder((-0.25 * width, 0.2, 0.58), 0.07, 0.3, cloth(rng))
        site.box((0.2 * width, 0.2, 0.58), (0.3, 0.22, 0.2), cloth(rng))


def plant(site: Site, rng: np.random.Generator) -> None:
    """A plant in a pot."""
    leaves = Material(Speckle(vary(rng, (0.2, 0.42, 0.18)), 0.5, 0.07, 3))
    site.cylinder((0, 0.3, 0), 0.17, 0.32, paint(vary(rng, (0.62, 0.36, 0.25), 0.1)))
    site.cylinder((0, 0.3, 0.3), 0.02, 0.5, paint((0.35, 0.25, 0.15)))
    for _ in range(5):
        x, y, z = rng.uniform((-0.18, 0.15, 0.6), (0.18, 0.45, 1.25))
        radius = float(rng.uniform(0.12, 0.24))
        site.ball((float(x), float(y), float(z)), (radius, radius, radius * 0.8), leaves)


def floor_lamp(site: Site, rng: np.random.Generator) -> tuple[float, float, float]:
    """A lamp on a pole; returns the world position of its bulb."""
    metal = paint((0.25, 0.24, 0.23))
    site.cylinder((0, 0.3, 0), 0.15, 0.03, metal)
    site.cylinder((0, 0.3, 0), 0.015, 1.45, metal)
    site.cylinder((0, 0.3, 1.4), 0.19, 0.28, paint(vary(rng, (0.95, 0.85, 0.65), 0.03), glow=1.6), casts_shadow=False)
    bulb = site.at(0, 0.3, 1.55)
    return bulb.x, bulb.y, bulb.z


def crate(site: Site, rng: np.random.Generator) -> None:
    """A wooden crate, sometimes with a ball or a smaller box on it."""
    size = float(rng.uniform(0.35, 0.6))
    site.box((0, 0.35, 0), (size, size, size), wood(rng))
    if rng.random() < 0.5:
        site.ball((0, 0.35, size + 0.16), (0.16, 0.16, 0.16), cloth(rng))
    else:
        site.at(0, 0.35, size, 0.4).box((0, 0, 0), (0.3, 0.24, 0.2), paint((0.68, 0.52, 0.36)))
