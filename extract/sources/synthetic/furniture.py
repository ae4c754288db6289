"""What stands or hangs along the walls of the synthetic rooms; a site's y axis points away from the wall behind it."""

import numpy as np

from .materials import Material, paint, palette, shade, stripes, tiles
from .site import Piece, Site, pick, vary

WOODS = palette("9e734a 6b472e c7a173 4d3326 e6e0d6")
CLOTHS = palette("425c8f a8332e 737870 4d7352 c2a880 cc9e33 614775 d1858c")
WHITE = paint((0.9, 0.89, 0.87), 0.02)


def wood(rng: np.random.Generator) -> Material:
    """Boards of a random wood."""
    colour = vary(rng, WOODS)
    return tiles(colour, shade(colour, 0.75), (2.6, 0.15), 0.003, 0.37, 0.1)


def cloth(rng: np.random.Generator) -> Material:
    """Plain, striped or checked cloth of random colours."""
    if rng.random() < 0.55:
        return paint(vary(rng, CLOTHS), 0.14, rng.uniform(0.03, 0.05))
    return stripes(vary(rng, CLOTHS), vary(rng, CLOTHS, 0.1), rng.uniform(0.08, 0.22), checked=rng.random() < 0.5)


def table(site: Site, rng: np.random.Generator, width: float) -> None:
    """A table around the site's spot with something on it."""
    material, depth, height = wood(rng), rng.uniform(0.6, 0.9), pick(rng, (0.45, 0.74, 0.74))
    _something(site.at(rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.25, 0.25) * depth, height), rng, 0.3)
    site = site.named("table", material)
    _legs(site, width, depth, height - 0.04, material)
    site.box((0, 0, height - 0.04), (width, depth, 0.04), material)


def chair(site: Site, rng: np.random.Generator, width: float) -> None:
    """A kitchen chair, its back towards the wall."""
    material = wood(rng)
    site = site.named("chair", material).at(0, width / 2)
    _legs(site, 0.44, 0.44, 0.44, material)
    site.box((0, 0, 0.44), (0.46, 0.46, 0.05), material)
    for x in (-0.2, 0.2):
        site.box((x, -0.2, 0.49), (0.04, 0.04, 0.45), material)
    site.box((0, -0.2, 0.68), (0.4, 0.03, 0.24), material)


def window(site: Site, rng: np.random.Generator, width: float) -> None:
    """A window of two panes; by day light comes in through it."""
    pane = paint((0.55, 0.61, 0.68), 0.12, 0.5, glow=3.0) if site.by_day else paint((0.08, 0.1, 0.16), 0.2, 0.5)
    if site.by_day:
        power = rng.uniform(1.6, 2.8)
        site.lamp((0, 0.5, 1.6), (0.8 * power, 0.9 * power, power))
    site = site.named("window")
    site.box((0, 0.02, 0.88), (width, 0.05, 1.26), WHITE)
    for side in (-1, 1):
        site.box((side * width / 4, 0.03, 0.95), (width / 2 - 0.09, 0.045, 1.12), pane)
    site.box((0, 0.07, 0.85), (width + 0.1, 0.16, 0.03), WHITE)


def _door(site: Site, rng: np.random.Generator, width: float) -> None:
    leaf = wood(rng)
    site = site.named("door", leaf)
    site.box((0, 0.02, 0), (width, 0.05, 2.1), WHITE)
    site.box((0, 0.03, 0), (width - 0.16, 0.05, 2.02), leaf)
    site.ball((width / 2 - 0.17, 0.08, 1.02), (0.035, 0.035, 0.035), paint((0.8, 0.72, 0.5)))


def _picture(site: Site, rng: np.random.Generator, width: float) -> None:
    frame, canvas = wood(rng), cloth(rng)
    site = site.named("picture", canvas)
    site.box((0, 0.015, 1.3), (width, 0.03, 0.75 * width), frame)
    site.box((0, 0.02, 1.34), (width - 0.08, 0.035, 0.75 * width - 0.08), canvas)


def _sofa(site: Site, rng: np.random.Generator, width: float) -> None:
    material, cushion = cloth(rng), cloth(rng)
    site = site.named("sofa", material)
    site.box((0, 0.45, 0.06), (width, 0.88, 0.36), material)
    site.box((0, 0.13, 0.4), (width, 0.24, 0.42), material, taper=(0, 0.3))
    for side in (-1, 1):
        site.box((side * (width / 2 - 0.1), 0.47, 0.06), (0.2, 0.86, 0.54), material)
        site.ball((side * 0.3 * width, 0.36, 0.56), (0.22, 0.1, 0.2), cushion)


def _bed(site: Site, rng: np.random.Generator, width: float) -> None:
    frame, blanket, linen = wood(rng), cloth(rng), paint((0.9, 0.89, 0.87))
    site = site.named("bed", blanket)
    site.box((0, 1.05, 0.1), (width, 2.0, 0.22), frame)
    site.box((0, 0.04, 0), (width, 0.06, 1.0), frame)
    site.box((0, 1.05, 0.32), (width - 0.08, 1.96, 0.2), linen)
    site.box((0, 1.4, 0.44), (width - 0.02, 1.32, 0.1), blanket)
    for x in (-0.25, 0.25) if width > 1.2 else (0.0,):
        site.ball((x * width, 0.32, 0.56), (0.32, 0.2, 0.1), linen)


def _wardrobe(site: Site, rng: np.random.Generator, width: float) -> None:
    material, knob, height = wood(rng), paint((0.75, 0.72, 0.65)), rng.uniform(1.7, 2.2)
    site = site.named("wardrobe", material)
    site.box((0, 0.29, 0), (width, 0.56, height), material)
    for side in (-1, 1):
        site.box((side * width / 4, 0.575, 0.08), (width / 2 - 0.03, 0.02, height - 0.14), material)
        site.ball((side * 0.06, 0.61, height / 2), (0.025, 0.025, 0.025), knob)


def _bookcase(site: Site, rng: np.random.Generator, width: float) -> None:
    material, shelves, step = wood(rng), int(rng.integers(3, 6)), rng.uniform(0.34, 0.42)
    site = site.named("bookcase", material)
    site.box((0, 0.04, 0), (width, 0.03, shelves * step), material)
    for side in (-0.5, 0.5):
        site.box((side * width, 0.17, 0), (0.03, 0.3, shelves * step + 0.03), material)
    for shelf in range(shelves + 1):
        site.box((0, 0.17, shelf * step), (width, 0.29, 0.03), material)
    for shelf in range(shelves):
        filled, tall = rng.uniform(0.4, 0.95) * width, rng.uniform(0.55, 0.85) * step
        books = stripes(vary(rng, CLOTHS, 0.1), vary(rng, CLOTHS, 0.1), rng.uniform(0.06, 0.11), 0.55)
        site.box(((filled - width) / 2 + 0.02, 0.16, shelf * step + 0.03), (filled - 0.04, 0.22, tall), books)


def _cupboard(site: Site, rng: np.random.Generator, width: float) -> None:
    material, black = wood(rng), paint((0.06, 0.06, 0.08))
    if rng.random() < 0.6:
        television = site.named("television", black)
        television.box((0, 0.18, 0.58), (0.4, 0.2, 0.04), black)
        television.box((0, 0.18, 0.62), (width * 0.75, 0.05, 0.62), black)
    else:
        for x in (-0.25, 0.2):
            _something(site.at(x * width, 0.2, 0.58), rng, 0.3)
    site = site.named("cupboard", material)
    site.box((0, 0.22, 0.08), (width, 0.42, 0.5), material)
    for side in (-1, 1):
        site.box((side * width / 4, 0.435, 0.12), (width / 2 - 0.04, 0.02, 0.42), material)


def _plant(site: Site, rng: np.random.Generator, width: float) -> None:
    leaves = paint(vary(rng, (0.2, 0.42, 0.18)), 0.5, 0.07, 3)
    site = site.named("plant", leaves).at(0, 0.3)
    site.cylinder((0, 0, 0), 0.17, 0.32, paint(vary(rng, (0.62, 0.36, 0.25), 0.1)))
    site.cylinder((0, 0, 0.3), 0.02, 0.5, paint((0.35, 0.25, 0.15)))
    for _ in range(5):
        x, y, z = rng.uniform((-0.18, -0.15, 0.6), (0.18, 0.15, 1.25)).tolist()
        radius = width * rng.uniform(0.2, 0.36)
        site.ball((x, y, z), (radius, radius, radius * 0.8), leaves)


def _lamp(site: Site, rng: np.random.Generator, width: float) -> None:
    shine, power = paint(vary(rng, (0.93, 0.85, 0.68), 0.04), glow=1.6 * (not site.by_day)), rng.uniform(0.5, 1.2)
    site, metal = site.named("lamp").at(0, width / 2), paint((0.25, 0.24, 0.23))
    site.cylinder((0, 0, 0), 0.15, 0.03, metal)
    site.cylinder((0, 0, 0), 0.015, 1.45, metal)
    site.shadowless().cylinder((0, 0, 1.4), 0.19, 0.28, shine)
    if not site.by_day:
        site.lamp((0, 0, 1.55), (power, power * 0.85, power * 0.6))


def _crate(site: Site, rng: np.random.Generator, width: float) -> None:
    material, size = wood(rng), width * rng.uniform(0.55, 0.9)
    _something(site.at(0, 0.35, size, 0.4), rng, 0.3)
    site.named("crate", material).box((0, 0.35, 0), (size, size, size), material)


def _something(site: Site, rng: np.random.Generator, width: float) -> None:
    """A ball, a box or a vase."""
    material, kind = cloth(rng), pick(rng, ("ball", "box", "vase"))
    site = site.named(kind, material)
    if kind == "box":
        site.box((0, 0, 0), (width, 0.22, rng.uniform(0.1, 0.28)), material)
    elif kind == "ball":
        radius = width * rng.uniform(0.27, 0.5)
        site.ball((0, 0, radius), (radius, radius, radius), material)
    else:
        site.ball((0, 0, 0.11), (0.09, 0.09, 0.11), material)
        site.cylinder((0, 0, 0.2), 0.04, 0.12, material)


def _legs(site: Site, width: float, depth: float, height: float, material: Material) -> None:
    for x in (-0.5, 0.5):
        for y in (-0.5, 0.5):
            site.box((x * (width - 0.08), y * (depth - 0.08), 0), (0.045, 0.045, height), material)


PIECES: list[Piece] = [
    *[(window, 0.9, 1.5), (_door, 0.98, 0.98)] * 2,
    *[(_picture, 0.4, 0.9), (chair, 0.52, 0.6), (_plant, 0.5, 0.7), (_lamp, 0.4, 0.6), (_crate, 0.5, 0.7)],
    *[(_sofa, 1.5, 2.1), (_bed, 0.95, 1.6), (_wardrobe, 0.9, 1.4), (_bookcase, 0.7, 1.2), (_cupboard, 1.0, 1.6)],
    (_picture, 0.4, 0.9),
]
