"""One split, scored for several models under several protocols at once beside the baselines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..cache import FeatureCache, Features, SpaceClipError
from ..train import side_by_side
from .protocol import Protocol
from .results import Row
from .scoring import AVERAGED, PLAIN, SAVED, DepthMaps, Scorer, Scores, as_map, score
from .truths import GroundTruth, samples_digest

MADE_BY = {True: AVERAGED, False: PLAIN, None: SAVED}
"""The prediction that a protocol scores, by its flip averaging."""

_Batch = TypeVar("_Batch")

Baselines = Mapping[tuple[float, float], Mapping[str, NDArray[np.float32]]]
"""Predictions that know no image (see `image_free_depths`), by the depth range they were made within and by name."""


@dataclass(frozen=True)
class Scored:
    """A row of the result, and what it was made from."""

    row: Row
    scores: Scores


def score_split(
    batches: Iterable[_Batch],
    models: Mapping[str, Callable[[_Batch], Iterable[DepthMaps]]],
    facts_of: Callable[[Mapping[str, str], Scores], dict[str, Any]],
    variants: Sequence[Protocol],
    baselines: Baselines,
    device: torch.device,
) -> list[list[Scored]]:
    """Score every variant of each model, and the baselines once for each protocol and scaling, in one pass.

    Args:
        batches: What the models predict of.
        models: Each gives the maps of the images of a batch, by name.
        facts_of: Gives what is known of the images (fields of `Row`) from the hashes of their truths and their scores.
        variants: The protocols.
        baselines: Of each depth range that the variants score; none at all for saved maps.
        device: Where the models are: on a CPU they predict side by side.

    Returns:
        For each model a row for each variant.
    """
    names, predicts = list(models), list(models.values())
    scorers = [[(MADE_BY[variant.flip_average], Scorer(variant)) for variant in variants] for _ in models]
    # A baseline knows no views: its numbers are the same with flip averaging and without.
    unflipped = [variant.model_copy(update={"flip_average": False}) for variant in variants]
    without = {
        variant: {name: Scorer(variant, regions=False) for name in baselines.get(variant.depth_range, {})}
        for variant in unflipped
    }
    fixed = {_key(name, depths): as_map(depth) for depths, named in baselines.items() for name, depth in named.items()}
    beside = [(_key(name, of.depth_range), scorer) for of, named in without.items() for name, scorer in named.items()]
    truths: dict[str, str] = {}

    def with_baselines(maps: Iterable[DepthMaps]) -> Iterator[DepthMaps]:
        for image in maps:
            truths[image.sample_id] = sha256(next(iter(image.truths.values())).tobytes()).hexdigest()
            yield image._replace(depths={**image.depths, **fixed})

    def score_batch(batch: _Batch, number: int) -> None:
        maps = predicts[number](batch)
        try:
            if number == 0:
                score(with_baselines(maps), scorers[0] + beside)
            else:
                score(maps, scorers[number])
        except SpaceClipError as error:
            raise SpaceClipError(f"{names[number]}: {error}" if len(names) > 1 else str(error)) from error

    with side_by_side(len(models), device) as each:
        for batch in batches:
            each(partial(score_batch, batch))
        each.finish()
    found: list[list[Scored]] = []
    for own in scorers:
        found.append([])
        for (_, scorer), variant in zip(own, unflipped, strict=True):
            scores, others = scorer.scores(), {name: other.scores() for name, other in without[variant].items()}
            found[-1].append(Scored(Row.of(scores, others, **facts_of(truths, scores)), scores))
    return found


def _key(name: str, depths: tuple[float, float]) -> str:
    return f"{name}, {depths[0]} to {depths[1]} m"


def split_facts(
    name: str, split: GroundTruth, features: FeatureCache | None, truths: Mapping[str, str], scores: Scores
) -> dict[str, Any]:
    """What a result says of the images that were scored, by field of `Row`.

    Args:
        name: What the split is used as.
        split: The split.
        features: What was read of it; None for saved maps.
        truths: Hash of the ground truth by id.
        scores: Of the images.
    """
    ids = split.sample_ids
    scored = [image.sample_id for image in scores.images]
    pictures = dict(zip(ids, features.content_hashes, strict=True)) if features else {}
    kinds = [{hashes.get(sample_id, "") for sample_id in scored} for hashes in (truths, pictures)]
    return {
        "split": str(split.about.get("split", name)),
        "distinct": min(len(hashes) for hashes in kinds if "" not in hashes),
        "quarantined": tuple(ids[row] for row in split.quarantined),
        "samples_sha256": samples_digest(split),
        "features_sha256": split.digest if isinstance(split, Features) else None,
        "list_sha256": split.about.get("list_sha256"),
        "storage": features.storage if features else None,
    }
