"""The solids that scenes are built of, met by rays in closed form: boxes, tapered or not, cylinders and ellipsoids.

Each solid is a unit shape (half-width 1 around the origin) stretched by half-sizes, turned and moved. In the world z
is up; lengths are metres. Arrays hold one ray or point a column: [3, N].
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .materials import Array, Material, Spot

_LEAST = np.float32(1e-12)  # in place of 0 under a division
_GRAZING = 0.02  # least cosine between ray and normal: a pixel covers 50 of its widths at most


@dataclass(frozen=True)
class Solid(ABC):
    """A unit shape stretched, turned and moved."""

    centre: Spot  # world position, metres
    half: Spot  # half-sizes along its own axes, metres
    axes: Array  # its own axes as rows, orthonormal, [3, 3]
    material: Material
    thing: int  # index of the thing that it is part of
    casts_shadow: bool = True

    @cached_property
    def radius(self) -> float:
        """Radius of a ball around `centre` that holds the solid, metres."""
        return float(np.linalg.norm(self.half))

    @cached_property
    def to_local(self) -> Array:
        """The turn and stretch from world to the unit shape, [3, 3]."""
        return (self.axes / np.array(self.half, np.float32)[:, None]).astype(np.float32)

    def meet(self, origin: Array, directions: Array) -> Array:
        """Where rays from a point [3] in directions [3, N] meet the solid first, in lengths of each direction [N].

        Infinite for a miss; a ray that starts inside meets the far side.
        """
        near, far = self._crossings(self._place(origin[:, None]), self.to_local @ directions)
        return np.where(far >= np.maximum(near, 0), np.where(near > 0, near, far), np.float32(np.inf))

    def surface(self, points: Array, directions: Array, size: Array) -> tuple[Array, Array]:
        """Unit normals towards the viewer [3, N] and linear reflectance [3, N] of what rays have met.

        Args:
            points: World points on the surface, [3, N].
            directions: Unit directions of the rays, [3, N].
            size: A pixel's width there across the ray, metres, [N].
        """
        local = self._place(points)
        normal = self.to_local.T @ self._outward(local)
        normal *= -np.sign(dot(normal, directions)) / np.sqrt(dot(normal, normal))
        # Surface coordinates are the two of the solid's own axes that the normal leans on least.
        main = np.argmax(np.abs(self.axes @ normal), axis=0)
        columns = np.arange(points.shape[1])
        first, second = (np.array([1, 0, 0])[main], columns), (np.array([2, 2, 1])[main], columns)
        metric = local * np.array(self.half, np.float32)[:, None]
        slant = self.axes @ directions / np.maximum(-dot(normal, directions), _GRAZING)
        du, dv = size * np.hypot(1, slant[first]), size * np.hypot(1, slant[second])
        return normal, self.material.pattern(metric[first], metric[second], du, dv)

    def _place(self, points: Array) -> Array:
        """World points [3, N] in the unit shape's coordinates [3, N]."""
        return self.to_local @ (points - np.array(self.centre, np.float32)[:, None])

    @abstractmethod
    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        """Entry and exit distances [N] of rays in unit coordinates; entry above exit for a miss."""

    @abstractmethod
    def _outward(self, local: Array) -> Array:
        """Outward normals [3, N], of any length, at points of the surface in unit coordinates [3, N]."""


@dataclass(frozen=True)
class Box(Solid):
    """A box whose top lacks the shares `taper` of its width and depth: none in a plain box; (1, 0) is a gable roof."""

    taper: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def planes(self) -> tuple[Array, Array]:
        """Outward normals [6, 3] and offsets [6, 1] of the faces in unit coordinates."""
        x, y = self.taper[0] / 2, self.taper[1] / 2
        normals = [[1, 0, x], [-1, 0, x], [0, 1, y], [0, -1, y], [0, 0, 1], [0, 0, -1]]
        offsets = [[1 - x], [1 - x], [1 - y], [1 - y], [1], [1]]
        return np.array(normals, np.float32), np.array(offsets, np.float32)

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        if self.taper == (0, 0):  # two and a half times as fast
            near, far = _between(start, heading)
        else:
            normals, offsets = self.planes
            speed = normals @ heading
            speed[speed == 0] = _LEAST
            times = (offsets - normals @ start) / speed
            near = np.where(speed > 0, np.float32(-np.inf), times)
            far = np.where(speed > 0, times, np.float32(np.inf))
        return near.max(axis=0), far.min(axis=0)

    def _outward(self, local: Array) -> Array:
        normals, offsets = self.planes
        return normals[np.argmin(offsets - normals @ local, axis=0)].T


@dataclass(frozen=True)
class Ellipsoid(Solid):
    """An ellipsoid."""

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        return _round(start, heading)

    def _outward(self, local: Array) -> Array:
        return local


@dataclass(frozen=True)
class Cylinder(Solid):
    """A cylinder with flat caps along its own z axis."""

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        near, far = _round(start[:2], heading[:2])
        low, high = _between(start[2], heading[2])
        return np.maximum(near, low), np.minimum(far, high)

    def _outward(self, local: Array) -> Array:
        cap = 1 - np.abs(local[2]) < 1 - np.hypot(local[0], local[1])
        return local * np.stack([~cap, ~cap, cap])


def dot(first: Array, second: Array) -> Array:
    """Inner products of columns, [3, N] and [3, N] or [3, 1] to [N]."""
    return np.einsum("ij,ij->j", first, second)


def _between(start: Array, heading: Array) -> tuple[Array, Array]:
    """Where each coordinate of rays enters and leaves -1 to 1."""
    slowness = 1 / np.where(np.abs(heading) < _LEAST, _LEAST, heading)
    middle, reach = -start * slowness, np.abs(slowness)
    return middle - reach, middle + reach


def _round(start: Array, heading: Array) -> tuple[Array, Array]:
    """Crossings of the unit circle or sphere, from the point of each ray closest to the middle (no cancellation)."""
    squared = np.maximum(dot(heading, heading), np.float32(1e-20))
    closest = -(start[:, 0] @ heading) / squared
    point = start + closest * heading
    room = 1 - dot(point, point)
    reach = np.sqrt(np.maximum(room, 0) / squared)
    return np.where(room > 0, closest - reach, np.float32(np.inf)), closest + reach
