"""The solids that scenes are built of: boxes, wedges, cylinders and ellipsoids, met by rays in closed form.

Each solid is a unit shape (half-width 1 around the origin) stretched by half-sizes, turned and moved. In the world z
is up; lengths are metres. Arrays hold one ray or point a column: [3, N].
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .textures import Array, Texture


@dataclass(frozen=True)
class Material:
    """What a surface looks like: a texture and the light it gives off itself, as a share of the texture's colour."""

    texture: Texture
    glow: float = 0.0


@dataclass(frozen=True)
class Surface:
    """Points on one solid's surface.

    Attributes:
        normal: Unit normals in world axes, on the side the rays come from, [3, N].
        u: First surface coordinate in metres, [N].
        v: Second surface coordinate in metres, [N].
        u_axis: World direction in which u grows, [3, N] or [3, 1].
        v_axis: World direction in which v grows, [3, N] or [3, 1].
        face: 0 side, 1 top, 2 bottom, [N].
    """

    normal: Array
    u: Array
    v: Array
    u_axis: Array
    v_axis: Array
    face: NDArray[np.int64]


@dataclass(frozen=True)
class Solid(ABC):
    """A unit shape stretched, turned and moved.

    Attributes:
        centre: World position of the shape's middle, metres.
        half: Half-sizes along the solid's own axes, metres.
        axes: The solid's own axes as rows, orthonormal, [3, 3].
        side: Material of all faces but top and bottom.
        top: Material of the face towards the solid's own +z.
        bottom: Material of the face towards its -z.
        casts_shadow: Whether it stops the light of lamps.
    """

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    axes: Array
    side: Material
    top: Material
    bottom: Material
    casts_shadow: bool = True

    @cached_property
    def radius(self) -> float:
        """Radius of a ball around `centre` that holds the solid, metres."""
        return float(np.linalg.norm(self.half))

    @cached_property
    def to_local(self) -> Array:
        """The turn and stretch from world to the unit shape, [3, 3]."""
        return (self.axes / np.array(self.half, np.float32)[:, None]).astype(np.float32)

    @property
    def materials(self) -> tuple[Material, Material, Material]:
        """Materials in the order of `Surface.face`."""
        return self.side, self.top, self.bottom

    def place(self, points: Array) -> Array:
        """World points [3, N] in the unit shape's coordinates [3, N]."""
        return self.to_local @ (points - np.array(self.centre, np.float32)[:, None])

    def meet(self, origin: Array, directions: Array) -> Array:
        """Where rays meet the solid first.

        Args:
            origin: The point all rays start from, [3].
            directions: World directions, [3, N].

        Returns:
            Distances in lengths of each direction, above 0, [N]; infinite for a miss. A ray that starts inside meets
            the far side.
        """
        start = self.place(origin[:, None])
        near, far = self._crossings(start, self.to_local @ directions)
        return np.where(far >= np.maximum(near, 0), np.where(near > 0, near, far), np.float32(np.inf))

    def surface(self, points: Array, directions: Array) -> Surface:
        """The surface at world `points` [3, N] met by rays of `directions` [3, N]."""
        local = self.place(points)
        normal, face = self._outward(local)
        normal = self.to_local.T @ normal
        normal /= np.sqrt(dot(normal, normal))
        normal *= -np.sign(dot(normal, directions))
        return self._unfold(local * np.array(self.half, np.float32)[:, None], normal, face)

    @abstractmethod
    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        """Entry and exit distances [N] of rays in unit coordinates; entry above exit for a miss."""

    @abstractmethod
    def _outward(self, local: Array) -> tuple[Array, NDArray[np.int64]]:
        """Outward normals [3, N] in unit coordinates and faces [N] at unit coordinates [3, N]."""

    def _unfold(self, metric: Array, normal: Array, face: NDArray[np.int64]) -> Surface:
        """Surface coordinates: the two of the solid's own axes that the normal leans on least."""
        main = np.argmax(np.abs(self.axes @ normal), axis=0)
        first, second = np.array([1, 0, 0])[main], np.array([2, 2, 1])[main]
        columns = np.arange(metric.shape[1])
        u, v = metric[first, columns], metric[second, columns]
        return Surface(normal, u, v, self.axes.T[:, first], self.axes.T[:, second], face)


@dataclass(frozen=True)
class Box(Solid):
    """A box."""

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        slowness = 1 / np.where(np.abs(heading) < 1e-12, np.float32(1e-12), heading)
        middle, reach = -start * slowness, np.abs(slowness)
        near, far = middle - reach, middle + reach
        return np.maximum(np.maximum(*near[:2]), near[2]), np.minimum(np.minimum(*far[:2]), far[2])

    def _outward(self, local: Array) -> tuple[Array, NDArray[np.int64]]:
        axis = np.argmax(np.abs(local), axis=0)
        normal = np.where(np.arange(3)[:, None] == axis, np.sign(local), np.float32(0))
        return normal, np.where(axis < 2, 0, np.where(local[2] > 0, 1, 2))


@dataclass(frozen=True)
class Wedge(Solid):
    """A box whose top is narrower: `taper` is the share that the top lacks along the wedge's own x and y.

    A taper of 1 along one axis makes a gable roof.
    """

    taper: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def planes(self) -> tuple[Array, Array]:
        """Outward normals [6, 3] and offsets [6, 1] of the faces in unit coordinates, top and bottom last."""
        x, y = self.taper[0] / 2, self.taper[1] / 2
        normals = [[1, 0, x], [-1, 0, x], [0, 1, y], [0, -1, y], [0, 0, 1], [0, 0, -1]]
        offsets = [[1 - x], [1 - x], [1 - y], [1 - y], [1], [1]]
        return np.array(normals, np.float32), np.array(offsets, np.float32)

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        normals, offsets = self.planes
        inside, speed = offsets - normals @ start, normals @ heading
        speed[np.abs(speed) < 1e-12] = 1e-12
        times = inside / speed
        leaving = speed > 0
        near = np.where(leaving, np.float32(-np.inf), times).max(axis=0)
        return near, np.where(leaving, times, np.float32(np.inf)).min(axis=0)

    def _outward(self, local: Array) -> tuple[Array, NDArray[np.int64]]:
        normals, offsets = self.planes
        plane = np.argmin(offsets - normals @ local, axis=0)
        return normals[plane].T, np.array([0, 0, 0, 0, 1, 2])[plane]


@dataclass(frozen=True)
class Ellipsoid(Solid):
    """An ellipsoid, all of its surface in the side's material."""

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        return _round_crossings(start, heading)

    def _outward(self, local: Array) -> tuple[Array, NDArray[np.int64]]:
        return local, np.zeros(local.shape[1], np.int64)


@dataclass(frozen=True)
class Cylinder(Solid):
    """A cylinder with flat caps along its own z axis."""

    def _crossings(self, start: Array, heading: Array) -> tuple[Array, Array]:
        near, far = _round_crossings(start[:2], heading[:2])
        climb = np.where(np.abs(heading[2]) < 1e-12, np.float32(1e-12), heading[2])
        low, high = (-1 - start[2]) / climb, (1 - start[2]) / climb
        return np.maximum(near, np.minimum(low, high)), np.minimum(far, np.maximum(low, high))

    def _outward(self, local: Array) -> tuple[Array, NDArray[np.int64]]:
        cap = 1 - np.abs(local[2]) < 1 - np.hypot(local[0], local[1])
        normal = np.where(cap, np.stack([0 * local[0], 0 * local[0], local[2]]), local * [[1], [1], [0]])
        return normal.astype(np.float32), np.where(cap, np.where(local[2] > 0, 1, 2), 0)

    def _unfold(self, metric: Array, normal: Array, face: NDArray[np.int64]) -> Surface:
        flat = super()._unfold(metric, normal, face)
        around = np.arctan2(metric[1], metric[0]) * np.float32(self.half[0])
        tangent = np.cross(self.axes[2], normal, axis=0).astype(np.float32)
        side = face == 0
        return Surface(
            normal,
            np.where(side, around, flat.u),
            np.where(side, metric[2], flat.v),
            np.where(side, tangent, flat.u_axis),
            np.where(side, self.axes[2][:, None], flat.v_axis),
            face,
        )


def dot(first: Array, second: Array) -> Array:
    """Inner products of columns, [3, N] and [3, N] or [3, 1] to [N]."""
    return np.einsum("ij,ij->j", first, second)


def _round_crossings(start: Array, heading: Array) -> tuple[Array, Array]:
    """Crossings of the unit circle or sphere, from the point of each ray closest to the middle (no cancellation)."""
    squared = np.maximum(dot(heading, heading), np.float32(1e-20))
    closest = -(start[:, 0] @ heading) / squared
    point = start + closest * heading
    room = 1 - dot(point, point)
    reach = np.sqrt(np.maximum(room, 0) / squared)
    return np.where(room > 0, closest - reach, np.float32(np.inf)), closest + reach
