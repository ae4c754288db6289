"""What stands in the synthetic streets; a site's x axis runs along the street, its y axis points towards the road."""

import numpy as np

from .materials import Material, facade, paint, palette, tiles
from .site import Piece, Site, pick, row, vary

FRONTS = palette("c7b899 ad8c73 d6d1c7 9e9e99 d19973 94a8b8 d9c285")
PAINTS = palette("b31a1a d9d9db 1f2126 264080 8c9199 336140 d1a82e")
_GLASS, _RUBBER = paint((0.16, 0.2, 0.25), 0.15, 0.4), paint((0.07, 0.07, 0.07))
_STEEL, _PALE = paint((0.3, 0.32, 0.33)), paint((0.88, 0.86, 0.82))
GRASS = paint((0.35, 0.47, 0.23), 0.4, 0.18, 3)


def house(site: Site, rng: np.random.Generator, width: float) -> None:
    """A house with its front at y = 0."""
    storey, storeys, base, depth = rng.uniform(2.9, 3.4), int(rng.integers(2, 6)), 0.5, 8.0
    height, bays = base + storeys * storey, max(2, round(width / rng.uniform(2.2, 3.0)))
    wall = _bricks(rng) if rng.random() < 0.4 else paint(vary(rng, FRONTS), 0.08, 0.5, 3)
    glass, door, awning = vary(rng, (0.3, 0.36, 0.42), 0.05), paint(vary(rng, PAINTS)), paint(vary(rng, PAINTS))
    front = facade(wall, glass, (0.88, 0.87, 0.84), width / bays, storey, base - height / 2)
    x = min((int(rng.integers(bays)) + 0.72) * width / bays, width - 0.6) - width / 2
    site.named("door", door).box((x, 0.13, 0), (0.95, 0.16, 2.2), door)
    site = site.named("house", front)
    site.box((x, 0.1, 0), (1.15, 0.16, 2.35), _PALE)
    if rng.random() < 0.35:
        site.box((x, 0.6, 2.5), (2.6, 1.2, 0.3), awning, taper=(0, 0.9))
    site.box((0, -depth / 2, 0), (width, depth, height), front)
    site.box((0, -depth / 2 + 0.15, 0), (width + 0.02, depth, base), paint(vary(rng, (0.5, 0.48, 0.46)), 0.1))
    if rng.random() < 0.6:
        roof = paint(vary(rng, (0.45, 0.3, 0.26)), 0.2)
        site.box((0, -depth / 2, height), (width, depth + 0.5, rng.uniform(1.5, 3)), roof, taper=(0, 1))
    else:
        site.box((0, -depth / 2, height), (width + 0.2, depth + 0.4, 0.35), _PALE)


def car(site: Site, rng: np.random.Generator, width: float) -> None:
    """A car or a van that points along the site's x axis."""
    body, van = paint(vary(rng, PAINTS, 0.03), 0.02), rng.random() < 0.2
    length, width, belt, back = 0.8 * width, rng.uniform(1.7, 1.85), 0.88, -0.05 * width
    roof, cabin, taper = (1.9, 0.84, (0.1, 0.14)) if van else (rng.uniform(1.4, 1.55), 0.58, (0.34, 0.2))
    site, cabin = site.named("van" if van else "car", body), cabin * length
    site.box((0, 0, 0.28), (length, width, 0.32), body)
    site.box((0, 0, 0.6), (length, width, belt - 0.6), body, taper=(0.05, 0.06))
    site.box((back, 0, belt), (cabin, width * 0.93, roof - belt), _GLASS, taper=taper)
    top = cabin * (1 - taper[0]) + 0.06, width * 0.93 * (1 - taper[1]) + 0.05
    site.box((back, 0, roof - 0.02), (*top, 0.06), body, taper=(0.1, 0.1))
    site.box((back, 0, belt), (0.09, width * 0.89, roof - belt), body)
    for side in (-1, 1):
        for x in (-0.31, 0.31):
            across = site.at(x * length, side * (width / 2 - 0.08), 0.32, np.pi / 2)
            across.wheel((0, 0, 0), 0.32, 0.2, _RUBBER)
            across.wheel((0, 0, 0), 0.2, 0.22, paint((0.4, 0.4, 0.41)))
        site.box((length / 2, 0.38 * side * width, 0.58), (0.05, 0.3, 0.14), paint((0.95, 0.95, 0.88), glow=0.4))
        site.box((-length / 2, 0.38 * side * width, 0.6), (0.05, 0.26, 0.14), paint((0.7, 0.08, 0.06), glow=0.3))
        site.box((side * length / 2, 0, 0.42), (0.05, 0.5, 0.11), _PALE)


def tree(site: Site, rng: np.random.Generator, width: float) -> None:
    """A tree whose crown is about twice as wide as `width`."""
    trunk, leaves = rng.uniform(2.0, 2.8), paint(vary(rng, (0.3, 0.46, 0.2)), 0.75, 0.22, 3)
    site = site.named("tree", leaves)
    site.cylinder((0, 0, 0), 0.1 * width, trunk + 0.8, paint((0.36, 0.28, 0.21), 0.4, 0.06))
    for _ in range(int(rng.integers(3, 7))):
        x, y, z = rng.normal(0, 0.42 * width, 3).tolist()
        radius = rng.uniform(0.5, 0.8) * width
        site.ball((x, y, trunk + width + z * 0.8), (radius, radius, radius * 0.85), leaves)


def _garden(site: Site, rng: np.random.Generator, width: float) -> None:
    wall = _bricks(rng)
    site.named("garden wall", wall).box((0, -0.15, 0), (width, 0.3, rng.uniform(0.9, 1.9)), wall)
    site.named("grass", GRASS).shadowless().box((0, -4.5, 0), (width, 7, 0.05), GRASS)
    row(site.at(0, -4), rng, width, [(tree, 0.9, 1.5)], (1, 4))


def _lamp_post(site: Site, rng: np.random.Generator, width: float) -> None:
    head = paint((0.9, 0.85, 0.7), glow=4.0 * (not site.by_day))
    site = site.named("lamp post", _STEEL)
    site.cylinder((0, 0, 0), 0.1, 0.9, _STEEL)
    site.cylinder((0, 0, 0), 0.06, 5.2, _STEEL)
    site.box((0, 0.55, 5.1), (0.08, 1.2, 0.08), _STEEL)
    site.shadowless().box((0, 1.1, 5.02), (0.2, 0.5, 0.1), head)
    if not site.by_day:
        site.lamp((0, 1.1, 4.95), (9.0, 7.0, 4.2))


def _person(site: Site, rng: np.random.Generator, width: float) -> None:
    coat, trousers = (paint(vary(rng, PAINTS, 0.08), 0.15, 0.1) for _ in range(2))
    site, tall = (
        site.named("person", coat).at(0, rng.uniform(-0.4, 0.4), 0, rng.uniform(0, 6.3)),
        rng.uniform(0.92, 1.07),
    )
    for x in (-0.1, 0.1):
        site.cylinder((x, 0, 0), 0.08, 0.85 * tall, trousers)
        site.ball((2.4 * x, 0, 1.12 * tall), (0.06, 0.07, 0.33), coat)
    site.ball((0, 0, 1.13 * tall), (0.21, 0.14, 0.38 * tall), coat)
    site.ball((0, 0, 1.62 * tall), (0.1, 0.11, 0.13), paint(vary(rng, (0.72, 0.53, 0.43), 0.08)))


def _litter_bin(site: Site, rng: np.random.Generator, width: float) -> None:
    material = paint(vary(rng, (0.2, 0.35, 0.25)))
    site = site.named("litter bin", material)
    site.cylinder((0, 0, 0), 0.26, 0.85, material)
    site.cylinder((0, 0, 0.85), 0.29, 0.1, _RUBBER)


def _bollards(site: Site, rng: np.random.Generator, width: float) -> None:
    for x in np.arange(-width / 2, width / 2).tolist():
        post = site.named("bollard", _STEEL).at(x, 0)
        post.cylinder((0, 0, 0), 0.07, 0.9, _STEEL)
        post.cylinder((0, 0, 0.72), 0.075, 0.1, _PALE)


def _sign(site: Site, rng: np.random.Generator, width: float) -> None:
    rim, face = (paint(colour) for colour in palette(pick(rng, ("bf1a1a ebebe6", "264d99 3361b3"))))
    site = site.named("traffic sign", rim).at(0, 0, 2.3, pick(rng, (0, np.pi)))
    site.cylinder((0, 0, -2.3), 0.035, 2.5, _STEEL)
    site.wheel((0.05, 0, 0), 0.32, 0.03, rim)
    site.wheel((0.06, 0, 0), 0.25, 0.03, face)


def _bricks(rng: np.random.Generator) -> Material:
    return tiles(vary(rng, (0.58, 0.3, 0.24)), (0.7, 0.67, 0.62), (0.3, 0.1), 0.014)


HOUSES: list[Piece] = [*[(house, 6.0, 13.0)] * 6, (_garden, 6.0, 13.0)]
PEOPLE: list[Piece] = [(_person, 0.5, 0.6)]
ON_PAVEMENT: list[Piece] = [(_lamp_post, 0.3, 0.3)] * 2
ON_PAVEMENT += [(_sign, 0.6, 0.7), (_litter_bin, 0.6, 0.7), (_bollards, 2.0, 5.0), (tree, 0.9, 1.5), (tree, 0.9, 1.5)]
