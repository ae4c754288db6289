"""Second moments of patch tokens and log depth: all that a linear fit, and its squared error, needs to know."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Sums of products over patches, in float64; memory that does not grow with their number.

    For each layer, and each pair of layers if wanted, the product of their designs [n, C + 2] (tokens, 1, log depth).

    Args:
        layers: The layers.
        channels: Of their tokens, C.
        pairs: Whether layers are probed in pairs too.
    """

    def __init__(self, layers: Sequence[int], channels: int, *, pairs: bool) -> None:
        self._channels = channels
        ordered = sorted(layers)
        wanted = [(one, other) for one in ordered for other in ordered if one == other or (pairs and one < other)]
        self._products = {pair: np.zeros((channels + 2, channels + 2)) for pair in wanted}
        self._block = np.empty((channels + 2, channels + 2))

    @property
    def patches(self) -> int:
        """How many patches were added."""
        return round(next(iter(self._products.values()))[-2, -2])

    def add(self, design: dict[int, NDArray[np.float64]]) -> None:
        """Add patches, by layer [n, C + 2]."""
        for (one, other), product in self._products.items():
            # Of one matrix with itself NumPy computes half, and mirrors it.
            product += np.matmul(design[one].T, design[other], out=self._block)

    def of(self, layers: Sequence[int]) -> NDArray[np.float64]:
        """The second moments [k + 2, k + 2] of the k channels of one layer or of two, of 1, and of the log depth."""
        last = self._products[layers[-1], layers[-1]]
        if len(layers) == 1:
            return last
        cross = self._products[layers[0], layers[1]][: self._channels]
        own = self._products[layers[0], layers[0]][: self._channels, : self._channels]
        return np.block([[own, cross], [cross.T, last]])
