"""One split, scored under several protocols at once beside the baselines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache import FeatureCache
from .protocol import Protocol
from .results import Row
from .scoring import AVERAGED, PLAIN, SAVED, DepthMaps, Scorer, Scores, as_map, score
from .truths import GroundTruth, samples_digest

MADE_BY = {True: AVERAGED, False: PLAIN, None: SAVED}
"""The prediction that a protocol scores, by its flip averaging."""


@dataclass(frozen=True)
class Scored:
    """A row of the result, and what it was made from."""

    row: Row
    scores: Scores
    baselines: Mapping[str, Scores]

    @property
    def best_baseline(self) -> Scores | None:
        """That of the lowest AbsRel; None without any."""
        return self.baselines[self.row.best_baselines["abs_rel"]] if self.baselines else None


def score_split(
    maps: Iterable[DepthMaps],
    facts_of: Callable[[Mapping[str, str], Scores], dict[str, Any]],
    variants: Sequence[Protocol],
    baselines: Mapping[str, NDArray[np.float32]],
) -> list[Scored]:
    """Score every variant, and the baselines once for each protocol and scaling, in one pass.

    Args:
        maps: The images.
        facts_of: Gives what is known of the images (fields of `Row`) from the hashes of their truths and their scores.
        variants: The protocols.
        baselines: Predictions that know no image, by name.
    """
    scorers = [(MADE_BY[variant.flip_average], Scorer(variant)) for variant in variants]
    # A baseline knows no views: its numbers are the same with flip averaging and without.
    unflipped = [variant.model_copy(update={"flip_average": False}) for variant in variants]
    without = {(name, variant): Scorer(variant, regions=False) for name in baselines for variant in unflipped}
    fixed = {name: as_map(depth) for name, depth in baselines.items()}
    truths: dict[str, str] = {}

    def with_baselines() -> Iterator[DepthMaps]:
        for image in maps:
            truths[image.sample_id] = sha256(next(iter(image.truths.values())).tobytes()).hexdigest()
            yield image._replace(depths={**image.depths, **fixed})

    score(with_baselines(), scorers + [(name, scorer) for (name, _), scorer in without.items()])
    found = []
    for (_, scorer), variant in zip(scorers, unflipped, strict=True):
        scores, beside = scorer.scores(), {name: without[name, variant].scores() for name in baselines}
        found.append(Scored(Row.of(scores, beside, **facts_of(truths, scores)), scores, beside))
    return found


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
        "list_sha256": split.about.get("list_sha256"),
        "storage": features.storage if features else None,
    }
