"""How much predictions vary, beside how much the truth does at the same pixels."""

import math

import numpy as np
from numpy.typing import NDArray

_POINTS = 32
# Below it the truth itself is too nearly constant to compare with.
_LEAST = 0.01


class Variation:
    """Adds up images, at the valid ones of 32 x 32 points of each."""

    def __init__(self) -> None:
        # Of prediction and truth: over the images that know a point, how many, and the sum of log depth and its square.
        self._points = np.zeros((2, 3, _POINTS, _POINTS))
        self._within: list[NDArray[np.float64]] = []

    def add(self, prediction: NDArray, truth: NDArray, valid: NDArray[np.bool_]) -> None:
        """Add an image: depths [H, W] in metres, positive where bool [H, W] is set."""
        at = np.ix_(*((np.arange(_POINTS) * 2 + 1) * length // (2 * _POINTS) for length in valid.shape))
        known = valid[at]
        logs = np.log(np.where(known, np.stack((prediction[at], truth[at])), 1).astype(np.float64))
        self._points += np.stack((np.broadcast_to(known, logs.shape), logs, logs**2), axis=1)
        if known.sum() > 1:
            self._within.append(logs[:, known].var(axis=1))

    def ratios(self) -> dict[str, float | None]:
        """Standard deviation of log depth of the predictions, as a share of the truth's.

        `pixels`: within an image (root mean square over images). `images`: at one point over images (likewise over
        points). 0 for flat maps, and over images for one map for all. None where the truth hardly varies.
        """
        within = np.mean(self._within, axis=0) if self._within else np.zeros(2)
        count, total, square = self._points.swapaxes(0, 1)
        several = count[0] > 1
        spread = np.maximum(square - total**2 / np.maximum(count, 1), 0)[:, several].sum(axis=1)
        over = spread / max((count[0][several] - 1).sum(), 1)
        return {"pixels": _ratio(within), "images": _ratio(over)}


def _ratio(variances: NDArray[np.float64]) -> float | None:
    predicted, true = (math.sqrt(variance) for variance in variances)
    return predicted / true if true > _LEAST else None
