"""What is shown of one image: truth, prediction and error, and the colours that they share."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .examples import Example
from .protocol import Protocol
from .scoring import prepare

# Of the usual colours of depth, turbo shows the smallest steps: a chair before its wall on the scale of a street.
DEPTH_COLOURS, ERROR_COLOURS, UNKNOWN = "turbo_r", "magma", 0.82
HIGHEST_ERROR = 0.5  # one scale for every figure, so that two figures can be compared by eye
SHOWN_COLUMNS = 320
_TICKS = [base * 10.0**power for power in range(-3, 4) for base in (1, 2, 5)]


@dataclass(frozen=True)
class DepthScale:
    """The colours of depth in all pictures of a result.

    Attributes:
        low: Depth of the first colour, metres.
        high: Depth of the last one.
        kind: Whether equal steps of colour are equal steps of depth, or equal ratios.
    """

    low: float
    high: float
    kind: Literal["linear", "log"]

    @classmethod
    def of(cls, truths: Iterable[NDArray], kind: Literal["linear", "log"]) -> "DepthScale":
        """That spans the truths of some images, metres, 0 where unknown."""
        known = [truth[truth > 0] for truth in truths]
        low, high = min(float(depth.min()) for depth in known), max(float(depth.max()) for depth in known)
        return cls(low, max(high, low * 1.01), kind)

    def __call__(self, depth: ArrayLike) -> NDArray[np.floating]:
        """Where depths [...] in metres lie between the first colour (0) and the last one (1); NaN stays."""
        values = np.clip(depth, self.low, self.high)
        if self.kind == "log":
            return np.log(values / self.low) / math.log(self.high / self.low)
        return (values - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round depths to write beside the colours, metres."""
        ticks = [tick for tick in _TICKS if self.low <= tick <= self.high]
        if self.kind == "log" and len(ticks) > 2:  # a narrow range has too few of them
            return ticks
        step = next((tick for tick in _TICKS if (self.high - self.low) / tick <= 8), self.high - self.low)
        return [step * number for number in range(math.ceil(self.low / step), int(self.high / step) + 1)]


@dataclass(frozen=True)
class Panels:
    """Maps [h, w] of one image at the size that they are shown at, NaN where nothing is known.

    Attributes:
        image: [h, w, 3] RGB, uint8; of another size than the maps, but of the same frame.
        truth: Metres.
        prediction: Metres, as the protocol scores it.
        error: |prediction - truth| / truth, where the protocol scores.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    error: NDArray[np.float64]


def panels(example: Example, protocol: Protocol, columns: int = SHOWN_COLUMNS) -> Panels:
    """What is shown of an image that was scored, about `columns` pixels wide."""
    truth = example.ground_truth
    prediction, valid = prepare(example.prediction, truth, protocol)
    known = truth > 0
    error = np.abs(prediction - truth) / np.where(known, truth, 1)
    side, sparse_side = max(1, known.shape[1] // columns), _sparse_side(known, columns)
    return Panels(
        image=shown_image(example.image, columns),
        truth=thin(truth, known, sparse_side),
        prediction=thin(prediction, np.ones_like(known), side),
        error=thin(error, valid, sparse_side),
    )


def shown_depth(truth: NDArray, columns: int = SHOWN_COLUMNS) -> NDArray[np.float64]:
    """A depth map [H, W] in metres, 0 where unknown, about `columns` pixels wide or less; NaN where unknown."""
    known = truth > 0
    return thin(truth, known, _sparse_side(known, columns))


def _sparse_side(known: NDArray[np.bool_], columns: int) -> int:
    # Single LiDAR points would not be seen: blocks so large that most of them hold one.
    return max(1, known.shape[1] // columns, math.floor(math.sqrt(2 / max(float(known.mean()), 0.02))))


def thin(values: NDArray, known: NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """Average the known pixels of square blocks; NaN where a block has none."""
    height, width = (length // side for length in values.shape)

    def sums(pixels: NDArray) -> NDArray[np.float64]:
        return pixels[: height * side, : width * side].reshape(height, side, width, side).sum((1, 3), dtype=np.float64)

    total, count = sums(np.where(known, values, 0)), sums(known)
    return np.divide(total, count, out=np.full((height, width), np.nan), where=count > 0)


def shown_image(image: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """A picture [h, w, 3], about `columns` pixels wide or less."""
    side = max(1, image.shape[1] // columns)
    known = np.ones(image.shape[:2], bool)
    return np.stack([thin(image[..., channel], known, side) for channel in range(3)], -1).round().astype(np.uint8)
