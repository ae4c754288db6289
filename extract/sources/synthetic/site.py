"""A building site: puts solids into a scene at spots given from the site's own ground point and heading."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from .shapes import Box, Cylinder, Ellipsoid, Material, Solid, Wedge
from .textures import Array, Colour, Speckle

T = TypeVar("T")
Spot = tuple[float, float, float]


@dataclass(frozen=True)
class Site:
    """Where an object stands.

    Attributes:
        solids: What has been built so far; the sites of one scene share the list.
        x: World x of the site's ground point, metres.
        y: World y of the site's ground point, metres.
        z: World height of the ground, metres.
        yaw: Angle in radians by which the site's own x leaves the world's.
    """

    solids: list[Solid] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0

    def at(self, x: float, y: float, z: float = 0.0, turn: float = 0.0) -> "Site":
        """A site at a spot of this one, turned by `turn` radians more."""
        return Site(self.solids, *self._world((x, y, z)), self.yaw + turn)

    def box(
        self,
        spot: Spot,
        size: Spot,
        side: Material,
        top: Material | None = None,
        bottom: Material | None = None,
        casts_shadow: bool = True,
    ) -> None:
        """Build a box of `size` metres whose bottom face has its middle at `spot`."""
        centre = self._world((spot[0], spot[1], spot[2] + size[2] / 2))
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.solids.append(Box(centre, half, self._axes(), side, top or side, bottom or side, casts_shadow))

    def wedge(
        self, spot: Spot, size: Spot, taper: tuple[float, float], side: Material, top: Material | None = None
    ) -> None:
        """Build a box whose top lacks the shares `taper` of its width and depth."""
        centre = self._world((spot[0], spot[1], spot[2] + size[2] / 2))
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.solids.append(Wedge(centre, half, self._axes(), side, top or side, side, taper=taper))

    def cylinder(self, spot: Spot, radius: float, height: float, side: Material, casts_shadow: bool = True) -> None:
        """Build an upright cylinder whose bottom cap has its middle at `spot`."""
        centre = self._world((spot[0], spot[1], spot[2] + height / 2))
        half = (radius, radius, height / 2)
        self.solids.append(Cylinder(centre, half, self._axes(), side, side, side, casts_shadow))

    def wheel(self, spot: Spot, radius: float, width: float, side: Material, caps: Material) -> None:
        """Build a cylinder with its middle at `spot` that lies along the site's x axis."""
        lying = self._axes()[[1, 2, 0]]
        self.solids.append(Cylinder(self._world(spot), (radius, radius, width / 2), lying, side, caps, caps))

    def ball(self, spot: Spot, radii: Spot, side: Material, casts_shadow: bool = True) -> None:
        """Build an ellipsoid with its middle at `spot`."""
        self.solids.append(Ellipsoid(self._world(spot), radii, self._axes(), side, side, side, casts_shadow))

    def _world(self, spot: Spot) -> Spot:
        cos, sin = float(np.cos(self.yaw)), float(np.sin(self.yaw))
        return self.x + cos * spot[0] - sin * spot[1], self.y + sin * spot[0] + cos * spot[1], self.z + spot[2]

    def _axes(self) -> Array:
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)


def paint(colour: Colour, amount: float = 0.05, size: float = 0.25, glow: float = 0.0) -> Material:
    """A surface of one slightly mottled colour."""
    return Material(Speckle(colour, amount, size), glow)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def vary(rng: np.random.Generator, colour: Colour, spread: float = 0.06) -> Colour:
    """A colour near the given one: a little brighter or darker, and a little off in hue."""
    shifted = np.clip(np.array(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0.03, 0.95)
    return float(shifted[0]), float(shifted[1]), float(shifted[2])
