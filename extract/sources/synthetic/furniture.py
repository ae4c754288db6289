"""What stands in the synthetic rooms, each piece built at a site whose y axis points away from the wall behind it."""

import numpy as np

from .materials import Material, paint, palette, shade, stripes, tiles
from .site import Site, pick, vary

WOODS = palette("9e734a 6b472e c7a173 4c3326 e6e0d6")
CLOTHS = palette("425c8f a8332e 737870 4c7352 c2a880 cc9e33 614775 d1858c")


def wood(rng: np.random.Generator) -> Material:
    """Boards of a random wood."""
    colour = vary(rng, pick(rng, WOODS))
    return tiles(colour, shade(colour, 0.75), (2.6, 0.15), 0.003, 0.37, 0.1)


def cloth(rng: np.random.Generator) -> Material:
    """Plain, striped or checked cloth of random colours."""
    colour, other = vary(rng, pick(rng, CLOTHS)), vary(rng, pick(rng, CLOTHS), 0.1)
    if rng.random() < 0.55:
        return paint(colour, 0.14, rng.uniform(0.03, 0.05))
    return stripes(colour, other, rng.uniform(0.08, 0.22), checked=rng.random() < 0.5)


def legs(site: Site, width: float, depth: float, height: float, material: Material) -> None:
    """Four legs under a rectangle."""
    for x in (-0.5, 0.5):
        for y in (-0.5, 0.5):
            site.box((x * (width - 0.08), y * (depth - 0.08), 0), (0.045, 0.045, height), material)


def small_thing(site: Site, rng: np.random.Generator) -> None:
    """A ball, a box or a vase to stand on something."""
    material = cloth(rng)
    match rng.integers(3):
        case 0:
            radius = rng.uniform(0.08, 0.16)
            site.named("ball", material).ball((0, 0, radius), (radius, radius, radius), material)
        case 1:
            site.named("box", material).box((0, 0, 0), (0.3, 0.22, rng.uniform(0.1, 0.28)), material)
        case _:
            vase = site.named("vase", material)
            vase.ball((0, 0, 0.11), (0.09, 0.09, 0.11), material)
            vase.cylinder((0, 0, 0.2), 0.04, 0.12, material)


def table(site: Site, rng: np.random.Generator, width: float, depth: float) -> None:
    """A table around the site's spot with something on it."""
    material, height = wood(rng), pick(rng, (0.45, 0.74, 0.74))
    top = site.named("table", material)
    legs(top, width, depth, height - 0.04, material)
    top.box((0, 0, height - 0.04), (width, depth, 0.04), material)
    small_thing(site.at(rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.25, 0.25) * depth, height), rng)


def chair(site: Site, rng: np.random.Generator, width: float) -> None:
    """A kitchen chair, its back towards the wall."""
    material, depth = wood(rng), 0.44
    seat = site.named("chair", material).at(0, 0.26)
    legs(seat, depth, depth, 0.44, material)
    seat.box((0, 0, 0.44), (0.46, 0.46, 0.05), material)
    for x in (-0.2, 0.2):
        seat.box((x, -0.2, 0.49), (0.04, 0.04, 0.45), material)
    seat.box((0, -0.2, 0.68), (0.4, 0.03, 0.24), material)


def sofa(site: Site, rng: np.random.Generator, width: float) -> None:
    """A sofa with arms and cushions."""
    material, cushion = cloth(rng), cloth(rng)
    site = site.named("sofa", material)
    site.box((0, 0.45, 0.06), (width, 0.88, 0.36), material)
    site.box((0, 0.13, 0.4), (width, 0.24, 0.42), material, taper=(0, 0.3))
    for x in (-0.5, 0.5):
        site.box((x * (width - 0.2), 0.47, 0.06), (0.2, 0.86, 0.54), material)
    for x in (-0.3, 0.3):
        site.ball((x * width, 0.36, 0.56), (0.22, 0.1, 0.2), cushion)


def bed(site: Site, rng: np.random.Generator, width: float) -> None:
    """A bed with its head against the wall, of its blanket's colour."""
    material, blanket, linen = wood(rng), cloth(rng), paint((0.9, 0.89, 0.87), 0.05)
    site = site.named("bed", blanket)
    site.box((0, 1.05, 0.1), (width, 2.0, 0.22), material)
    site.box((0, 0.04, 0), (width, 0.06, 1.0), material)
    site.box((0, 1.05, 0.32), (width - 0.08, 1.96, 0.2), linen)
    site.box((0, 1.4, 0.44), (width - 0.02, 1.32, 0.1), blanket)
    for x in (-0.25, 0.25) if width > 1.2 else (0.0,):
        site.ball((x * width, 0.32, 0.56), (0.32, 0.2, 0.1), linen)


def wardrobe(site: Site, rng: np.random.Generator, width: float) -> None:
    """A wardrobe with two doors."""
    material, knob, height = wood(rng), paint((0.75, 0.72, 0.65)), rng.uniform(1.7, 2.2)
    site = site.named("wardrobe", material)
    site.box((0, 0.29, 0), (width, 0.56, height), material)
    for side in (-1, 1):
        site.box((side * width / 4, 0.575, 0.08), (width / 2 - 0.03, 0.02, height - 0.14), material, casts_shadow=False)
        site.ball((side * 0.06, 0.61, height / 2), (0.025, 0.025, 0.025), knob)


def bookcase(site: Site, rng: np.random.Generator, width: float) -> None:
    """Shelves with rows of books."""
    material, shelves, step = wood(rng), int(rng.integers(3, 6)), rng.uniform(0.34, 0.42)
    site = site.named("bookcase", material)
    site.box((0, 0.04, 0), (width, 0.03, shelves * step), material)
    for side in (-0.5, 0.5):
        site.box((side * width, 0.17, 0), (0.03, 0.3, shelves * step + 0.03), material)
    for shelf in range(shelves):
        site.box((0, 0.17, shelf * step), (width, 0.29, 0.03), material)
        filled, tall = rng.uniform(0.4, 0.95) * width, rng.uniform(0.55, 0.85) * step
        first, second = (vary(rng, pick(rng, CLOTHS), 0.1) for _ in range(2))
        books = stripes(first, second, rng.uniform(0.06, 0.11), 0.55)
        site.box(((filled - width) / 2 + 0.02, 0.16, shelf * step + 0.03), (filled - 0.04, 0.22, tall), books)
    site.box((0, 0.17, shelves * step), (width, 0.29, 0.03), material)


def cupboard(site: Site, rng: np.random.Generator, width: float) -> None:
    """A low cupboard with a television or smaller things on it."""
    material, black = wood(rng), paint((0.06, 0.06, 0.08))
    low = site.named("cupboard", material)
    low.box((0, 0.22, 0.08), (width, 0.42, 0.5), material)
    for side in (-1, 1):
        low.box((side * width / 4, 0.435, 0.12), (width / 2 - 0.04, 0.02, 0.42), material, casts_shadow=False)
    if rng.random() < 0.6:
        television = site.named("television", black)
        television.box((0, 0.18, 0.58), (0.4, 0.2, 0.04), black)
        television.box((0, 0.18, 0.62), (min(width * 0.8, 1.2), 0.05, 0.62), black)
    else:
        for x in (-0.25, 0.2):
            small_thing(site.at(x * width, 0.2, 0.58), rng)


def plant(site: Site, rng: np.random.Generator, width: float) -> None:
    """A plant in a pot, as wide as fits."""
    leaves = paint(vary(rng, (0.2, 0.42, 0.18)), 0.5, 0.07, 3)
    site = site.named("plant", leaves).at(0, 0.3)
    site.cylinder((0, 0, 0), 0.17, 0.32, paint(vary(rng, (0.62, 0.36, 0.25), 0.1)))
    site.cylinder((0, 0, 0.3), 0.02, 0.5, paint((0.35, 0.25, 0.15)))
    for _ in range(5):
        x, y, z = (float(a) for a in rng.uniform((-0.18, -0.15, 0.6), (0.18, 0.15, 1.25)))
        radius = width * rng.uniform(0.2, 0.36)
        site.ball((x, y, z), (radius, radius, radius * 0.8), leaves)


def floor_lamp(site: Site, rng: np.random.Generator, width: float) -> None:
    """A lamp on a pole; it shines after dark."""
    dark = not site.by_day
    cloth, metal = paint(vary(rng, (0.93, 0.85, 0.68), 0.04), glow=1.6 * dark), paint((0.25, 0.24, 0.23))
    site = site.named("lamp", cloth).at(0, width / 2)
    site.cylinder((0, 0, 0), 0.15, 0.03, metal)
    site.cylinder((0, 0, 0), 0.015, 1.45, metal)
    site.cylinder((0, 0, 1.4), 0.19, 0.28, cloth, casts_shadow=False)
    if dark:
        power = rng.uniform(0.5, 1.2)
        site.lamp((0, 0, 1.55), (power, power * 0.85, power * 0.6))


def crate(site: Site, rng: np.random.Generator, width: float) -> None:
    """A wooden crate with something on it."""
    material, size = wood(rng), width * rng.uniform(0.55, 0.9)
    site.named("crate", material).box((0, 0.35, 0), (size, size, size), material)
    small_thing(site.at(0, 0.35, size, 0.4), rng)
