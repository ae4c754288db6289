"""Images of a result that are shown: some spread over the split, and the best, middling and worst."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .protocol import Protocol
from .scoring import DepthMaps, ImageScore, to_size
from .split_scoring import MADE_BY
from .truths import GroundTruth

SHOWN = 15
"""How many images a page shows, unless it is told otherwise."""


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


Load = Callable[[Collection[str]], Iterable[Example]]
"""Gives the examples of some sample ids."""


@dataclass(frozen=True)
class Examples:
    """Images to show.

    Attributes:
        spread: Evenly over those that were scored, in their order.
        ranked: Of the lowest, the middle and the highest AbsRel, by `best`, `median`, `worst`; no image twice.
    """

    spread: tuple[Example, ...]
    ranked: Mapping[str, Sequence[Example]]

    @property
    def all(self) -> list[Example]:
        """They; one may stand there twice."""
        return [*self.spread, *(example for group in self.ranked.values() for example in group)]


def find_examples(images: Sequence[ImageScore], count: int, load: Load) -> Examples:
    """Choose images by their scores, and load each once.

    Args:
        images: All that were scored, in the order of the split.
        count: How many to spread over them.
        load: Gives their examples.
    """
    at = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    spread, groups = [images[index] for index in at], ranked(images, SHOWN)
    wanted = {image.sample_id for group in (spread, *groups.values()) for image in group}
    found = {example.score.sample_id: example for example in load(wanted)}
    return Examples(
        tuple(found[image.sample_id] for image in spread),
        {name: [found[image.sample_id] for image in group] for name, group in groups.items()},
    )


def loader(
    maps: Callable[[Sequence[int]], Iterable[DepthMaps]],
    split: GroundTruth,
    protocol: Protocol,
    images: Iterable[ImageScore],
) -> Load:
    """A function that predicts some images of a split once more, and gives them with their scores.

    Args:
        maps: Predicts some rows of the split.
        split: Where pictures come from.
        protocol: How the images were scored.
        images: Their scores.
    """
    by_id = {image.sample_id: image for image in images}

    def load(names: Collection[str]) -> Iterator[Example]:
        for found in maps([row for row, name in enumerate(split.sample_ids) if name in names]):
            truth = found.truths[protocol.size]
            prediction = to_size(found.depths[MADE_BY[protocol.flip_average]], (truth.shape[0], truth.shape[1]))
            yield Example(by_id[found.sample_id], split.image(found.row), prediction, truth)

    return load


def ranked(images: Sequence[ImageScore], count: int) -> dict[str, list[ImageScore]]:
    """The best, middling and worst images, lowest AbsRel first; a third of `count` each, and no image twice."""
    by_error = sorted(images, key=lambda image: image.metrics["abs_rel"])
    worst, best, middle = ((min(count, len(by_error)) + more) // 3 for more in (2, 1, 0))
    rest = by_error[best : len(by_error) - worst]
    start = (len(rest) - middle) // 2
    return {
        "best": by_error[:best],
        "median": rest[start : start + middle],
        "worst": by_error[len(by_error) - worst :],
    }
