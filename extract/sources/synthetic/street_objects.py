"""What stands in the synthetic streets: houses, cars, trees, lamp posts, people and small things."""

import numpy as np

from .materials import Material, facade, paint, palette, tiles
from .site import Site, pick, vary

_FRONTS = palette("c7b899 ad8c73 d6d1c7 9e9e99 d19973 94a8b8 d9c285")
_PAINTS = palette("b21a1a d9d9db 1f2126 264080 8c9199 336140 d1a82e")
_GLASS, _RUBBER, _STEEL = paint((0.16, 0.2, 0.25), 0.15, 0.4), paint((0.07, 0.07, 0.07)), paint((0.3, 0.32, 0.33))
_PALE = paint((0.88, 0.86, 0.82))


def bricks(rng: np.random.Generator) -> Material:
    """A brick wall's pattern."""
    return tiles(vary(rng, (0.58, 0.3, 0.24)), (0.7, 0.67, 0.62), (0.3, 0.1), 0.014)


def house(site: Site, rng: np.random.Generator, width: float, depth: float) -> None:
    """A house with its front along the site's x axis, at y = 0, and its body behind it (towards -y)."""
    storey, storeys, base = rng.uniform(2.9, 3.4), int(rng.integers(2, 6)), 0.5
    height = base + storeys * storey
    wall = bricks(rng) if rng.random() < 0.4 else paint(vary(rng, pick(rng, _FRONTS), 0.05), 0.08, 0.5, 3)
    bays = max(2, round(width / rng.uniform(2.2, 3.0)))
    glass = vary(rng, (0.3, 0.36, 0.42), 0.05)
    front = facade(wall, glass, (0.88, 0.87, 0.84), width / bays, storey, base - height / 2)
    site = site.named("house", front)
    site.box((0, -depth / 2, 0), (width, depth, height), front)
    site.box((0, -depth / 2 + 0.15, 0), (width + 0.02, depth, base), paint(vary(rng, (0.5, 0.48, 0.46)), 0.1))
    if rng.random() < 0.6:
        roof = paint(vary(rng, (0.45, 0.3, 0.26), 0.06), 0.2)
        site.box((0, -depth / 2, height), (width, depth + 0.5, rng.uniform(1.5, 3)), roof, taper=(0, 1))
    else:
        site.box((0, -depth / 2, height), (width + 0.2, depth + 0.4, 0.35), _PALE)
    site = site.at(min((int(rng.integers(bays)) + 0.72) * width / bays, width - 0.6) - width / 2, 0)
    leaf, awning = (paint(vary(rng, pick(rng, _PAINTS), 0.05)) for _ in range(2))
    site.box((0, 0.1, 0), (1.15, 0.16, 2.35), _PALE)
    site.named("door", leaf).box((0, 0.13, 0), (0.95, 0.16, 2.2), leaf)
    if rng.random() < 0.35:
        site.box((0, 0.6, 2.5), (2.6, 1.2, 0.3), awning, taper=(0, 0.9))


def car(site: Site, rng: np.random.Generator) -> None:
    """A car or a van that points along the site's y axis."""
    body = paint(vary(rng, pick(rng, _PAINTS), 0.03), 0.02)
    length, width, belt, van = rng.uniform(3.9, 4.7), rng.uniform(1.7, 1.85), 0.88, rng.random() < 0.2
    roof, cabin, taper = (
        (1.9, 0.84 * length, (0.14, 0.1)) if van else (rng.uniform(1.4, 1.55), 0.58 * length, (0.2, 0.34))
    )
    site = site.named("van" if van else "car", body)
    site.box((0, 0, 0.28), (width, length, 0.32), body)
    site.box((0, 0, 0.6), (width, length, belt - 0.6), body, taper=(0.06, 0.05))
    back = -0.06 * length
    site.box((0, back, belt), (width * 0.93, cabin, roof - belt), _GLASS, taper=taper)
    top = width * 0.93 * (1 - taper[0]) + 0.05, cabin * (1 - taper[1]) + 0.06
    site.box((0, back, roof - 0.02), (*top, 0.06), body, taper=(0.1, 0.1))
    site.box((0, back, belt), (width * 0.89, 0.09, roof - belt), body)
    for x in (-0.5, 0.5):
        for y in (-0.31, 0.31):
            site.wheel((x * (width - 0.16), y * length, 0.32), 0.32, 0.2, _RUBBER)
            site.wheel((x * (width - 0.14), y * length, 0.32), 0.2, 0.2, paint((0.4, 0.4, 0.41)))
        site.box((0.76 * x * width, length / 2, 0.58), (0.3, 0.05, 0.14), paint((0.95, 0.95, 0.88), glow=0.4))
        site.box((0.76 * x * width, -length / 2, 0.6), (0.26, 0.05, 0.14), paint((0.7, 0.08, 0.06), glow=0.3))
        site.box((0, x * length, 0.42), (0.5, 0.05, 0.11), _PALE)


def tree(site: Site, rng: np.random.Generator, lumps: int = 6) -> None:
    """A tree with a crown of so many lumps."""
    trunk, spread, green = rng.uniform(2.0, 2.8), rng.uniform(0.9, 1.5), vary(rng, (0.3, 0.46, 0.2), 0.06)
    leaves = paint(green, 0.75, 0.22, 3)
    site = site.named("tree", leaves)
    site.cylinder((0, 0, 0), rng.uniform(0.09, 0.16), trunk + 0.8, paint((0.36, 0.28, 0.21), 0.4, 0.06))
    for _ in range(lumps):
        x, y, z = (float(a) for a in rng.normal(0, 0.42, 3) * spread)
        radius = rng.uniform(0.5, 0.8) * spread
        site.ball((x, y, trunk + spread + z * 0.8), (radius, radius, radius * 0.85), leaves)


def lamp_post(site: Site) -> None:
    """A lamp post that reaches out along the site's y axis; it shines after dark."""
    dark = not site.by_day
    site = site.named("lamp post", _STEEL)
    site.cylinder((0, 0, 0), 0.1, 0.9, _STEEL)
    site.cylinder((0, 0, 0), 0.06, 5.2, _STEEL)
    site.box((0, 0.55, 5.1), (0.08, 1.2, 0.08), _STEEL)
    site.box((0, 1.1, 5.02), (0.2, 0.5, 0.1), paint((0.9, 0.85, 0.7), glow=4.0 * dark), casts_shadow=False)
    if dark:
        site.lamp((0, 1.1, 4.95), (9.0, 7.0, 4.2))


def person(site: Site, rng: np.random.Generator) -> None:
    """A standing person about 1.6 to 1.9 m tall, of the coat's colour."""
    scale = rng.uniform(0.92, 1.07)
    coat, trousers = (paint(vary(rng, pick(rng, _PAINTS), 0.08), 0.15, 0.1) for _ in range(2))
    site = site.named("person", coat)
    for x in (-0.1, 0.1):
        site.cylinder((x, 0, 0), 0.08, 0.85 * scale, trousers)
        site.ball((2.4 * x, 0, 1.12 * scale), (0.06, 0.07, 0.33), coat)
    site.ball((0, 0, 1.13 * scale), (0.21, 0.14, 0.38 * scale), coat)
    site.ball((0, 0, 1.62 * scale), (0.1, 0.11, 0.13), paint(vary(rng, (0.72, 0.53, 0.43), 0.08)))


def litter_bin(site: Site, rng: np.random.Generator) -> None:
    """A waste bin with a lid."""
    material = paint(vary(rng, (0.2, 0.35, 0.25)))
    site = site.named("litter bin", material)
    site.cylinder((0, 0, 0), 0.26, 0.85, material)
    site.cylinder((0, 0, 0.85), 0.29, 0.1, _RUBBER)


def bollard(site: Site) -> None:
    """A short post with a pale band."""
    site = site.named("bollard", _STEEL)
    site.cylinder((0, 0, 0), 0.07, 0.9, _STEEL)
    site.cylinder((0, 0, 0.72), 0.075, 0.1, _PALE)


def sign(site: Site, rng: np.random.Generator) -> None:
    """A round traffic sign that faces against the site's y axis."""
    colours = pick(rng, (((0.75, 0.1, 0.1), (0.92, 0.92, 0.9)), ((0.15, 0.3, 0.6), (0.2, 0.38, 0.7))))
    rim, face = paint(colours[0]), paint(colours[1])
    site = site.named("traffic sign", rim)
    site.cylinder((0, 0, 0), 0.035, 2.5, _STEEL)
    across = site.at(0, -0.05, 2.3, np.pi / 2)
    across.wheel((0, 0, 0), 0.32, 0.03, rim)
    across.wheel((-0.01, 0, 0), 0.25, 0.03, face)
