"""What stands in the synthetic streets: buildings, cars, trees, lamp posts, people and small things."""

import numpy as np

from .shapes import Material
from .site import Site, paint, pick, vary
from .textures import Colour, Facade, Speckle, Texture, Tiles

_FRONTS: tuple[Colour, ...] = (
    (0.78, 0.72, 0.6),
    (0.68, 0.55, 0.45),
    (0.82, 0.8, 0.76),
    (0.62, 0.62, 0.6),
    (0.8, 0.62, 0.48),
    (0.6, 0.66, 0.68),
    (0.85, 0.78, 0.62),
)
_CARS: tuple[Colour, ...] = (
    (0.7, 0.1, 0.1),
    (0.85, 0.85, 0.86),
    (0.12, 0.13, 0.15),
    (0.15, 0.25, 0.5),
    (0.55, 0.57, 0.6),
    (0.2, 0.35, 0.25),
    (0.8, 0.65, 0.2),
)
_GLASS = paint((0.16, 0.2, 0.25), 0.15, 0.4)
_RUBBER, _STEEL = paint((0.07, 0.07, 0.07)), paint((0.3, 0.32, 0.33))


def building(site: Site, rng: np.random.Generator, width: float, depth: float) -> None:
    """A house with its front along the site's x axis, at y = 0, and its body behind it (towards -y)."""
    storey, storeys = float(rng.uniform(2.9, 3.4)), int(rng.integers(2, 6))
    base = 0.5
    height = base + storeys * storey
    colour = vary(rng, pick(rng, _FRONTS), 0.05)
    mortar = (0.7, 0.67, 0.62)
    wall: Texture = Speckle(colour, 0.08, 0.5, 3)
    if rng.random() < 0.4:
        wall = Tiles(vary(rng, (0.58, 0.3, 0.24)), mortar, 0.3, 0.1, 0.014)
    bays = max(2, round(width / float(rng.uniform(2.2, 3.0))))
    glass = vary(rng, (0.3, 0.36, 0.42), 0.05)
    front = Facade(wall, glass, (0.88, 0.87, 0.84), width / bays, storey, base - height / 2)
    roof = paint(vary(rng, (0.45, 0.3, 0.26), 0.06), 0.2)
    site.box((0, -depth / 2, 0), (width, depth, height), Material(front), roof)
    site.box((0, -depth / 2 + 0.15, 0), (width + 0.02, depth, base), paint(vary(rng, (0.5, 0.48, 0.46)), 0.1))
    if rng.random() < 0.6:
        site.wedge((0, -depth / 2, height), (width, depth + 0.5, float(rng.uniform(1.5, 3))), (0, 1), roof)
    else:
        site.box((0, -depth / 2, height), (width + 0.2, depth + 0.4, 0.35), paint((0.8, 0.78, 0.74)))
    door = (float(rng.integers(bays)) + 0.72) * width / bays - width / 2
    door = min(door, width / 2 - 0.6)
    site.box((door, 0.1, 0), (1.15, 0.16, 2.35), paint((0.85, 0.83, 0.8)))
    site.box((door, 0.13, 0), (0.95, 0.16, 2.2), paint(vary(rng, pick(rng, _CARS), 0.05)))
    if rng.random() < 0.35:
        awning = paint(vary(rng, pick(rng, _CARS), 0.05))
        site.wedge((door, 0.6, 2.5), (2.6, 1.2, 0.3), (0, 0.9), awning)


def car(site: Site, rng: np.random.Generator) -> None:
    """A car that points along the site's y axis."""
    body = paint(vary(rng, pick(rng, _CARS), 0.03), 0.02)
    length, width = float(rng.uniform(3.9, 4.7)), float(rng.uniform(1.7, 1.85))
    van = rng.random() < 0.2
    roof, cabin = (1.9, 0.84) if van else (float(rng.uniform(1.4, 1.55)), 0.58)
    belt = 0.88
    site.box((0, 0, 0.28), (width, length, 0.32), body)
    site.wedge((0, 0, 0.6), (width, length, belt - 0.6), (0.06, 0.05), body)
    taper = (0.14, 0.1) if van else (0.2, 0.34)
    back = -0.06 * length
    site.wedge((0, back, belt), (width * 0.93, cabin * length, roof - belt), taper, _GLASS, body)
    top = cabin * length * (1 - taper[1]), width * 0.93 * (1 - taper[0])
    site.wedge((0, back, roof - 0.02), (top[1] + 0.05, top[0] + 0.06, 0.06), (0.1, 0.1), body)
    site.box((0, back, belt), (width * 0.93 * 0.96, 0.09, roof - belt), body)
    for y in (-0.31, 0.31):
        for x in (-0.5, 0.5):
            site.wheel((x * (width - 0.16), y * length, 0.32), 0.32, 0.2, _RUBBER, paint((0.4, 0.4, 0.41)))
    for x in (-0.38, 0.38):
        site.box((x * width, length / 2, 0.58), (0.3, 0.05, 0.14), paint((0.95, 0.95, 0.88), glow=0.4))
        site.box((x * width, -length / 2, 0.6), (0.26, 0.05, 0.14), paint((0.7, 0.08, 0.06), glow=0.3))
    site.box((0, -length / 2, 0.42), (0.5, 0.05, 0.11), paint((0.9, 0.9, 0.85)))
    site.box((0, length / 2, 0.4), (0.5, 0.05, 0.11), paint((0.9, 0.9, 0.85)))


def tree(site: Site, rng: np.random.Generator, lumps: int = 6) -> None:
    """A tree with a crown of so many lumps."""
    trunk = float(rng.uniform(2.0, 2.8))
    bark = Material(Speckle((0.36, 0.28, 0.21), 0.4, 0.06, 2))
    site.cylinder((0, 0, 0), float(rng.uniform(0.09, 0.16)), trunk + 0.8, bark)
    green = vary(rng, (0.3, 0.46, 0.2), 0.06)
    spread = float(rng.uniform(0.9, 1.5))
    for _ in range(lumps):
        x, y, z = rng.normal(0, 0.42, 3) * spread
        leaves = Material(Speckle(vary(rng, green, 0.03), 0.75, 0.22, 3))
        radius = float(rng.uniform(0.5, 0.8)) * spread
        spot = float(x), float(y), trunk + spread + float(z) * 0.8
        site.ball(spot, (radius, radius, radius * 0.85), leaves)


def lamp_post(site: Site) -> None:
    """A lamp post that reaches out along the site's y axis."""
    site.cylinder((0, 0, 0), 0.1, 0.9, _STEEL)
    site.cylinder((0, 0, 0), 0.06, 5.2, _STEEL)
    site.box((0, 0.55, 5.1), (0.08, 1.2, 0.08), _STEEL)
    site.box((0, 1.1, 5.02), (0.2, 0.5, 0.1), paint((0.85, 0.85, 0.8)))


def person(site: Site, rng: np.random.Generator) -> None:
    """A standing person about 1.6 to 1.9 m tall."""
    scale = float(rng.uniform(0.92, 1.07))
    coat, trousers = (paint(vary(rng, pick(rng, _CARS), 0.08), 0.15, 0.1) for _ in range(2))
    skin = paint(vary(rng, (0.72, 0.53, 0.43), 0.08))
    for x in (-0.1, 0.1):
        site.cylinder((x, 0, 0), 0.08, 0.85 * scale, trousers)
    for x in (-0.24, 0.24):
        site.ball((x, 0, 1.12 * scale), (0.06, 0.07, 0.33), coat)
    site.ball((0, 0, 1.13 * scale), (0.21, 0.14, 0.38 * scale), coat)
    site.ball((0, 0, 1.62 * scale), (0.1, 0.11, 0.13), skin)


def litter_bin(site: Site, rng: np.random.Generator) -> None:
    """A waste bin."""
    site.cylinder((0, 0, 0), 0.26, 0.85, paint(vary(rng, (0.2, 0.35, 0.25))))
    site.cylinder((0, 0, 0.85), 0.29, 0.1, paint((0.15, 0.16, 0.16)))


def bollard(site: Site) -> None:
    """A short post with a pale band."""
    site.cylinder((0, 0, 0), 0.07, 0.9, paint((0.18, 0.18, 0.2)))
    site.cylinder((0, 0, 0.72), 0.075, 0.1, paint((0.9, 0.88, 0.8)))


def sign(site: Site, rng: np.random.Generator) -> None:
    """A round traffic sign that faces against the site's y axis."""
    site.cylinder((0, 0, 0), 0.035, 2.5, _STEEL)
    rim, face = pick(rng, (((0.75, 0.1, 0.1), (0.92, 0.92, 0.9)), ((0.15, 0.3, 0.6), (0.2, 0.38, 0.7))))
    across = site.at(0, -0.05, 2.3, np.pi / 2)
    across.wheel((0, 0, 0), 0.32, 0.03, paint(rim), paint(rim))
    across.wheel((-0.01, 0, 0), 0.25, 0.03, paint(face), paint(face))
