"""Ridge regression from second moments, and the choice of its strength."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""What the strength is chosen from unless the user says."""


def ridge_fits(moments: NDArray[np.float64], strengths: Sequence[float]) -> Iterator[NDArray[np.float64]]:
    """For each strength the linear map that minimises mean squared error + strength * sum of squared weights.

    The weights that count are those of channels brought to mean 0 and deviation 1 over the same patches; the intercept
    is free. With n patches this is scikit-learn's `Ridge(alpha=strength * n)` behind its `StandardScaler`.

    Args:
        moments: [k + 2, k + 2] of k channels, of 1, and of the target.
        strengths: Positive.

    Yields:
        Weights of the channels as they are, then the intercept, [k + 1].
    """
    means = moments[-2, :] / moments[-2, -2]
    covariance = moments / moments[-2, -2] - np.outer(means, means)
    channels = np.r_[: len(moments) - 2]
    deviation = np.sqrt(np.maximum(np.diag(covariance)[channels], 0))
    deviation[deviation == 0] = 1  # a constant channel, of which nothing can be known
    correlation = covariance[:-2, :-2] / np.outer(deviation, deviation)
    target = covariance[:-2, -1] / deviation
    diagonal = correlation[channels, channels]
    for strength in strengths:
        correlation[channels, channels] = diagonal + strength
        weights = np.linalg.solve(correlation, target) / deviation
        yield np.append(weights, means[-1] - weights @ means[:-2])


def squared_error(moments: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    """The sum of squared errors of a linear map over the patches of some moments."""
    residual = np.append(-fitted, 1.0)
    return float(residual @ moments @ residual)


def choose_strength(folds: Sequence[NDArray[np.float64]], strengths: Sequence[float]) -> float:
    """The strength whose maps, each fitted to all folds but one, err least on the folds left out, in all.

    Args:
        folds: The moments of each.
        strengths: To choose from; a single one is taken as it is.
    """
    if len(strengths) == 1:
        return strengths[0]
    errors = np.zeros(len(strengths))
    for left_out, fold in enumerate(folds):
        others = np.add.reduce([other for number, other in enumerate(folds) if number != left_out])
        errors += [squared_error(fold, fitted) for fitted in ridge_fits(others, strengths)]
    return strengths[int(errors.argmin())]
