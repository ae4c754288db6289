"""Bundles of rays from one point, and what they meet.

Rays are kept in blocks of neighbours. A solid is tried only against the blocks whose cone touches the ball around it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .materials import Array
from .solids import Solid

_BLOCK = 64
_SLACK = 1e-5  # radians, against rounding


class Bundle:
    """Rays from one point [3] in unit directions [3, N]; the more alike rays that follow each other, the faster."""

    def __init__(self, origin: Array, directions: Array) -> None:
        self._origin, self._count = origin, directions.shape[1]
        padded = np.pad(directions, ((0, 0), (0, -self._count % _BLOCK)), mode="edge")
        self._blocks = padded.reshape(3, -1, _BLOCK)
        axes = self._blocks.mean(axis=2)
        self._axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-9)
        gap = self._blocks - self._axes[:, :, None]
        chord = np.sqrt(np.einsum("ijk,ijk->jk", gap, gap).max(axis=1))
        self._spread = 2 * np.arcsin(np.minimum(chord / 2, 1)) + _SLACK

    def nearest(self, solids: Sequence[Solid], limit: Array | float = np.inf) -> tuple[Array, NDArray[np.int16]]:
        """The nearest solid along each ray before its `limit` in metres.

        Returns:
            Distances in metres [N] and the solids' indices [N]; the limit and -1 where nothing is met.
        """
        distance = np.full(self._blocks.shape[1:], np.inf, np.float32)
        distance.flat[: self._count] = limit
        index = np.full(distance.shape, -1, np.int16)
        farthest = distance.max(axis=1)
        for k, least, touched in self._touched(solids):
            near = touched[farthest[touched] > least]
            if len(near):
                rays, before = self._blocks[:, near].reshape(3, -1), distance[near]
                met = solids[k].meet(self._origin, rays).reshape(before.shape)
                index[near] = np.where(met < before, np.int16(k), index[near])
                distance[near] = before = np.minimum(met, before)
                farthest[near] = before.max(axis=1)
        return distance.ravel()[: self._count], index.ravel()[: self._count]

    def _touched(self, solids: Sequence[Solid]) -> Iterator[tuple[int, float, NDArray[np.int64]]]:
        """The solids that may be met, near ones first: index, least distance in metres, blocks that may meet it."""
        radius = np.array([solid.radius for solid in solids])
        offsets = np.array([solid.centre for solid in solids]).reshape(-1, 3) - self._origin
        away = np.linalg.norm(offsets, axis=1)
        sine = np.minimum(radius / np.maximum(away, 1e-9), 1)
        cosine = np.sqrt(1 - sine * sine)
        limit = np.outer(cosine, np.cos(self._spread)) - np.outer(sine, np.sin(self._spread))
        limit[sine >= 1] = -np.inf
        limit[:, self._spread >= np.pi / 2] = -np.inf
        touched = offsets @ self._axes >= limit * away[:, None]
        least = away - radius
        some = np.flatnonzero(touched.any(axis=1))
        for k in some[np.argsort(least[some])]:
            yield int(k), float(least[k]), touched[k].nonzero()[0]
