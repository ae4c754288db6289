"""Bundles of rays from one point, and what they meet."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .shapes import Solid
from .textures import Array

_SLACK = 1e-3  # radians, against rounding


class Bundle:
    """Rays from one point.

    Args:
        origin: The point, [3].
        directions: Unit directions, [3, N].
    """

    def __init__(self, origin: Array, directions: Array) -> None:
        self.origin, self.directions = origin, directions
        axis = directions.sum(axis=1, dtype=np.float64)
        self._axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
        self._spread = _angle(float((self._axis.astype(np.float32) @ directions).min(initial=1)))

    def nearest(self, solids: Sequence[Solid]) -> tuple[Array, NDArray[np.int16]]:
        """The nearest solid along each ray.

        Returns:
            Distances in metres [N], infinite where nothing is met, and the solids' indices [N], -1 where nothing is met.
        """
        distance = np.full(self.directions.shape[1], np.inf, np.float32)
        index = np.full(self.directions.shape[1], -1, np.int16)
        for k, solid in enumerate(solids):
            near = self._candidates(solid)
            if len(near):
                met = solid.meet(self.origin, self.directions[:, near])
                closer = met < distance[near]
                distance[near[closer]] = met[closer]
                index[near[closer]] = k
        return distance, index

    def blocked(self, solids: Iterable[Solid], distance: Array) -> NDArray[np.bool_]:
        """Whether a solid stops each ray before it has gone its `distance` [N] in metres, [N]."""
        blocked = np.zeros(len(distance), bool)
        for solid in solids:
            near = self._candidates(solid)
            if len(near):
                blocked[near[solid.meet(self.origin, self.directions[:, near]) < distance[near]]] = True
        return blocked

    def _candidates(self, solid: Solid) -> NDArray[np.int64]:
        """Indices of the rays that pass through the ball around a solid."""
        offset = np.subtract(solid.centre, self.origin, dtype=np.float64)
        away = math.hypot(*offset)
        if away <= solid.radius:
            return np.arange(self.directions.shape[1])
        towards, sine = offset / away, solid.radius / away
        if _angle(float(self._axis @ towards)) > self._spread + math.asin(sine) + _SLACK:
            return np.arange(0)
        x, y, z = towards
        flat = math.hypot(x, y)
        level = (-y / flat, x / flat, 0.0) if flat > 1e-6 else (1.0, 0.0, 0.0)
        frame = np.array([level, np.cross(towards, level), towards], np.float32)
        across, up, ahead = frame @ self.directions
        return np.flatnonzero((across * across + up * up <= np.float32(sine * sine)) & (ahead > 0))


def _angle(cosine: float) -> float:
    return math.acos(min(max(cosine, -1.0), 1.0))
