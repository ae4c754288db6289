"""A building site: puts solids and lamps into a scene at spots given from the site's own ground point and heading."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from .materials import Array, Colour, Material, Spot
from .shading import Lamp
from .solids import Box, Cylinder, Ellipsoid, Solid

T = TypeVar("T")
Piece = tuple[Callable[["Site", np.random.Generator, float], None], float, float]
"""What builds something of a width at a site, and the least and the largest width in metres."""


@dataclass(frozen=True)
class Site:
    """Where an object stands; the sites of one scene share the lists of what has been built."""

    solids: list[Solid] = field(default_factory=list)
    things: list[tuple[str, Material | None]] = field(default_factory=list)
    lamps: list[Lamp] = field(default_factory=list)
    x: float = 0.0  # of the ground point in the world, metres
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0  # radians by which the site's own x leaves the world's
    thing: int = -1  # index of the thing that is being built
    casts_shadow: bool = True
    by_day: bool = True  # and lamps are off

    def at(self, x: float, y: float, z: float = 0.0, turn: float = 0.0) -> "Site":
        """A site at a spot of this one, turned by `turn` radians more."""
        x, y, z = self._world((x, y, z))
        return replace(self, x=x, y=y, z=z, yaw=self.yaw + turn)

    def named(self, noun: str, material: Material | None = None) -> "Site":
        """The same site, where what is built from now on is a new thing of that name and of the material's colour."""
        self.things.append((noun, material))
        return replace(self, thing=len(self.things) - 1)

    def shadowless(self) -> "Site":
        """The same site, where what is built from now on stops no light."""
        return replace(self, casts_shadow=False)

    def box(self, spot: Spot, size: Spot, material: Material, taper: tuple[float, float] = (0.0, 0.0)) -> None:
        """Build a box of `size` metres whose bottom face has its middle at `spot`; its top lacks the shares `taper`."""
        centre, half = self._world((spot[0], spot[1], spot[2] + size[2] / 2)), (size[0] / 2, size[1] / 2, size[2] / 2)
        self.solids.append(Box(centre, half, self._axes(), material, self.thing, self.casts_shadow, taper))

    def cylinder(self, spot: Spot, radius: float, height: float, material: Material) -> None:
        """Build an upright cylinder whose bottom cap has its middle at `spot`."""
        centre, half = self._world((spot[0], spot[1], spot[2] + height / 2)), (radius, radius, height / 2)
        self.solids.append(Cylinder(centre, half, self._axes(), material, self.thing, self.casts_shadow))

    def wheel(self, spot: Spot, radius: float, width: float, material: Material) -> None:
        """Build a cylinder with its middle at `spot` that lies along the site's x axis."""
        half, lying = (radius, radius, width / 2), self._axes()[[1, 2, 0]]
        self.solids.append(Cylinder(self._world(spot), half, lying, material, self.thing, self.casts_shadow))

    def ball(self, spot: Spot, radii: Spot, material: Material) -> None:
        """Build an ellipsoid with its middle at `spot`."""
        self.solids.append(Ellipsoid(self._world(spot), radii, self._axes(), material, self.thing, self.casts_shadow))

    def lamp(self, spot: Spot, power: Colour) -> None:
        """Let a point light shine from `spot`."""
        self.lamps.append(Lamp(self._world(spot), power))

    def _world(self, spot: Spot) -> Spot:
        cos, sin = float(np.cos(self.yaw)), float(np.sin(self.yaw))
        return self.x + cos * spot[0] - sin * spot[1], self.y + sin * spot[0] + cos * spot[1], self.z + spot[2]

    def _axes(self) -> Array:
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)


def row(
    site: Site,
    rng: np.random.Generator,
    length: float,
    pieces: Sequence[Piece],
    gap: tuple[float, float] = (0.0, 0.0),
    first: Piece | None = None,
) -> None:
    """Build random pieces side by side over `length` metres of the site's x axis, with gaps of so many metres."""
    x = rng.uniform(*gap) - length / 2
    while True:
        build, least, largest = first or pick(rng, pieces)
        first, width = None, rng.uniform(least, largest)
        if x + width > length / 2:
            return
        build(site.at(x + width / 2, 0), rng, width)
        x += width + rng.uniform(*gap)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def vary(rng: np.random.Generator, colours: Sequence[Colour] | Colour, spread: float = 0.06) -> Colour:
    """A colour near the given one, or near one of those: a little brighter or darker, and a little off in hue."""
    colour = np.array(colours) if np.ndim(colours) == 1 else np.array(colours)[rng.integers(len(colours))]
    red, green, blue = np.clip(colour + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0.03, 0.95).tolist()
    return red, green, blue
