"""Images of a result that are shown: some spread over the split, the worst and the best."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .scoring import ImageScore

_EXTREMES = 5


@dataclass(frozen=True)
class Example:
    """One image that was scored.

    Attributes:
        score: Its metrics.
        image: [h, w, 3] RGB, uint8.
        prediction: [H, W] metres, at the size of the truth.
        ground_truth: [H, W] metres, 0 where unknown.
    """

    score: ImageScore
    image: NDArray[np.uint8]
    prediction: NDArray[np.float32]
    ground_truth: NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """Images to show.

    Attributes:
        spread: Evenly over those that were scored, in their order.
        worst: Highest AbsRel first.
        best: Of the others, lowest AbsRel first.
    """

    spread: tuple[Example, ...]
    worst: tuple[Example, ...]
    best: tuple[Example, ...]


def find_examples(
    images: Sequence[ImageScore], count: int, load: Callable[[Collection[str]], Iterable[Example]]
) -> Examples:
    """Choose images by their scores, and load each once.

    Args:
        images: All that were scored, in the order of the split.
        count: How many to spread over them.
        load: Gives the examples of some sample ids.
    """
    ranked = sorted(images, key=lambda image: -image.metrics["abs_rel"])
    at = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    groups = ([images[index] for index in at], ranked[:_EXTREMES], ranked[_EXTREMES:][: -_EXTREMES - 1 : -1])
    wanted = {image.sample_id for group in groups for image in group}
    found = {example.score.sample_id: example for example in load(wanted)}
    return Examples(*(tuple(found[image.sample_id] for image in group) for group in groups))
