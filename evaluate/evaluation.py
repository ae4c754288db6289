"""Evaluations: checkpoints, or saved maps, scored by every protocol asked for, each split in one pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..cache import FeatureCache, Look, Looks, SpaceClipError, note_looks
from ..train import Checkpoint
from .examples import SHOWN, Examples, Load, find_examples, loader
from .facts import BackboneFacts, CheckpointFacts, SavedMapsFacts
from .panels import DepthScale
from .probing import FeatureViews, ranked_views
from .protocol import EvaluateSettings, Protocol, ProtocolName, split_of
from .result_files import FILES, write_results
from .result_folder import sweep_folder
from .results import Results
from .scoring import DepthMaps, ImageScore
from .split_scoring import Baselines, Scored, score_split, split_facts
from .truths import GroundTruth

Advance = Callable[[int, int], None]
Split = TypeVar("Split", bound=GroundTruth)
Read = Callable[[Split, Sequence[Protocol], Sequence[int]], Iterable[Any]]
"""Batches of some rows of a split, with the truths that protocols need."""


@dataclass(frozen=True)
class Model:
    """Something that is scored.

    Attributes:
        facts: What it is.
        backbone: That its features are of; None for saved maps.
        checkpoint: Its weights; None for saved maps.
        out: Folder for its numbers.
        predict: Gives the maps of the images of a batch.
        hash_of: What a look at a split is told by, once it was scored there.
    """

    facts: CheckpointFacts | SavedMapsFacts
    backbone: BackboneFacts | None
    checkpoint: Checkpoint | None
    out: Path
    predict: Callable[[Any], Iterable[DepthMaps]]
    hash_of: Callable[[GroundTruth], str]


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found; what its figures are drawn from is made when it is asked for.

    Attributes:
        results: The numbers.
        checkpoint: What was scored; None for saved maps.
    """

    results: Results
    checkpoint: Checkpoint | None
    _settings: EvaluateSettings
    _images: Sequence[ImageScore]
    _load: Load
    _features: FeatureCache | None

    @cached_property
    def examples(self) -> Examples:
        """Images scored by the protocol of the first row, to be shown."""
        return find_examples(self._images, self._settings.figures, self._load)

    @property
    def scale(self) -> DepthScale:
        """The colours of their depth."""
        return DepthScale.of((example.ground_truth for example in self.examples.all), self._settings.figure_scale)

    @property
    def views(self) -> FeatureViews | None:
        """Layers of some of them; None for saved maps."""
        return ranked_views(self._features, self._images, SHOWN) if self._features else None

    @property
    def caption(self) -> str:
        """What the figures show."""
        return self.results.caption(self.results.rows[0])


def scored_split(name: ProtocolName, splits: Mapping[str, GroundTruth]) -> str:
    """Which split a protocol scores: the held-out rows for `validation`, the test set for all others.

    Raises:
        SpaceClipError: There is no such split.
    """
    wanted = split_of(name)
    if wanted not in splits:
        remedy = "hold scenes out with data.split.val" if wanted == "val" else "give the data set a test split"
        raise SpaceClipError(
            f"the {name} protocol scores the {wanted} split, these features have "
            f"{' and '.join(splits) or 'none to score'}: {remedy} and extract again, or choose another protocol"
        )
    return wanted


def evaluate_models(
    models: Sequence[Model],
    features: Mapping[str, FeatureCache],
    splits: Mapping[str, Split],
    read: Read[Split],
    baselines: Baselines,
    plan: Sequence[tuple[str, Protocol]],
    settings: EvaluateSettings,
    progress: Advance,
    name: str,
    device: torch.device,
) -> list[Evaluation]:
    """Score every model by every protocol, each split in one pass, and write the numbers.

    Args:
        models: What is scored; the predictions of all are made of the same batches.
        features: The splits that are read from stores, by name.
        splits: What can be scored, by name.
        read: Reads a split.
        baselines: See `score_split`.
        plan: See `plan_of`.
        settings: How to score.
        progress: Called with (images done, images in all).
        name: Of the data set.
        device: Where the models predict.

    Raises:
        SpaceClipError: An image cannot be scored, or no pixel is valid.
    """
    where = list(dict.fromkeys(split for split, _ in plan))
    total, done = images_of(splits, plan), count(1)

    def counted(batch: Any) -> Iterator[DepthMaps]:
        for image in models[0].predict(batch):
            progress(next(done), total)
            yield image

    by_plan: list[dict[tuple[str, Protocol], Scored]] = [{} for _ in models]
    for split in where:
        variants = [variant for at, variant in plan if at == split]
        batches = read(splits[split], variants, range(len(splits[split])))
        facts_of = partial(split_facts, split, splits[split], features.get(split))
        predicts = {str(model.out): model.predict for model in models} | {str(models[0].out): counted}
        scored = score_split(batches, predicts, facts_of, variants, baselines, device)
        # Noted before anybody can see a number.
        looked = _look(models, splits[split], variants) if scored[0][0].row.split == "test" else None
        for found, rows in zip(by_plan, scored, strict=True):
            for variant, one in zip(variants, rows, strict=True):
                found[split, variant] = replace(one, row=one.row.model_copy(update={"looks": looked}))
    first, protocol = splits[where[0]], plan[0][1]
    evaluations = []
    for model, found in zip(models, by_plan, strict=True):
        rows = [found[each] for each in plan]
        results = Results(
            data=str(first.about.get("data")),
            name=name,
            model=model.facts,
            backbone=model.backbone,
            rows=tuple(one.row for one in rows),
        )
        sweep_folder(model.out, FILES)
        write_results(model.out, results, [one.scores for one in rows])
        images = rows[0].scores.images
        load = loader(partial(_maps, model, read, first, [protocol]), first, protocol, images)
        evaluations.append(Evaluation(results, model.checkpoint, settings, images, load, features.get(where[0])))
    return evaluations


def _maps(
    model: Model, read: Read[Split], split: Split, protocols: Sequence[Protocol], rows: Sequence[int]
) -> Iterator[DepthMaps]:
    """What a model predicts of some rows of a split."""
    return (image for batch in read(split, protocols, rows) for image in model.predict(batch))


def _look(models: Sequence[Model], split: GroundTruth, variants: Sequence[Protocol]) -> Looks:
    """Note that something was scored on a test split; the variants of a protocol are one look."""
    if not isinstance(split, FeatureCache):
        return Looks(uncounted="it was read from its own files, not from a store")
    protocols = dict.fromkeys(variant.setting for variant in variants)
    looks = [
        Look("checkpoint" if model.checkpoint else "maps", model.hash_of(split), protocol, str(model.out))
        for model in models
        for protocol in protocols
    ]
    return note_looks(looks, split.path)


def images_of(splits: Mapping[str, GroundTruth], plan: Sequence[tuple[str, Protocol]]) -> int:
    """Images that a plan scores, those of a split once."""
    return sum(len(splits[split]) for split in {split for split, _ in plan})


def plan_of(
    settings: EvaluateSettings, splits: Mapping[str, GroundTruth], depth_range: tuple[float, float], *, saved: bool
) -> list[tuple[str, Protocol]]:
    """What is scored, in the order of the result: all variants of every protocol, each with its split."""
    found: list[tuple[str, Protocol]] = []
    for name in settings.protocols:
        split = scored_split(name, splits)
        protocol = settings.protocol(name, splits[split].about, *depth_range)
        if saved:
            protocol = protocol.model_copy(update={"flip_average": None})
        found += [(split, variant) for variant in settings.variants(protocol)]
    return found
