"""One evaluation: a checkpoint, or saved maps, scored by every protocol asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..cache import FeatureCache, Features, Look, Looks, SpaceClipError, note_looks, out_of_memory
from ..train import Checkpoint
from .baselines import image_free_depths
from .examples import SHOWN, Examples, find_examples, loader
from .facts import BackboneFacts, CheckpointFacts, SavedMapsFacts
from .inference import predict
from .kept_baselines import KeptDepths
from .panels import DepthScale
from .probing import FeatureViews, ranked_views
from .protocol import EvaluateSettings, Protocol, ProtocolName, split_of
from .result_files import FILES, write_results
from .result_folder import require_free, sweep_folder
from .results import Results
from .saved_maps import check_shape
from .scoring import SAVED, DepthMaps, as_map
from .split_scoring import Baselines, Scored, score_split, split_facts
from .truths import GroundTruth, read_truths, samples_digest

Advance = Callable[[int, int], None]
_Split = TypeVar("_Split", bound=GroundTruth)
_Maps = Callable[[_Split, Sequence[Protocol], Sequence[int]], Iterable[DepthMaps]]


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found, and what its figures are drawn from.

    Attributes:
        results: The numbers.
        examples: Images scored by the protocol of the first row, to be shown.
        scale: The colours of their depth.
        checkpoint: What was scored; None for saved maps.
        views: Layers of some of the examples; None for saved maps.
    """

    results: Results
    examples: Examples
    scale: DepthScale
    checkpoint: Checkpoint | None
    views: FeatureViews | None

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


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    splits: Mapping[str, FeatureCache],
    training: Features,
    settings: EvaluateSettings,
    out: Path,
    progress: Advance = lambda _done, _total: None,
    *,
    name: str = "",
    force: bool = False,
    keep: Path | None = None,
) -> Evaluation:
    """Score a checkpoint beside the best predictions without an image.

    Args:
        checkpoint: The decoder, on the device to compute on.
        splits: What can be scored, `val` and `test` or one of them; each split a protocol asks for is read once.
        training: The split that those predictions are made of.
        settings: How to score.
        out: Folder for the numbers (see `write_results`).
        progress: Called with (images done, images in all), those of the training split too, once for each range scored.
        name: Of the data set.
        force: Replace whatever result the folder holds.
        keep: Folder that keeps those predictions, so that the next evaluation does not read the training split.

    Raises:
        SpaceClipError: The folder holds another result, a store lacks depth, a hidden state or the flipped view, or no
            pixel is valid.
    """
    info = checkpoint.info

    def decoded(cache: FeatureCache, protocols: Sequence[Protocol], rows: Sequence[int]) -> Iterator[DepthMaps]:
        return predict(
            checkpoint.decoder,
            cache,
            rows,
            flip_average=settings.flip_average,
            truths=read_truths(cache, [protocol.size for protocol in protocols]),
            precision=settings.precision,
            batch_size=settings.batch_size,
        )

    facts = CheckpointFacts.of(checkpoint, training.storage)
    plan = _plan(settings, splits, (info.min_depth, info.max_depth), saved=False)
    if not force:
        require_free(out, facts, [(samples_digest(splits[split]), protocol) for split, protocol in plan])
    ranges = list(dict.fromkeys(protocol.depth_range for _, protocol in plan))
    kept = {depths: KeptDepths(keep, training, depths) for depths in ranges} if keep else {}
    baselines = {depths: found for depths, file in kept.items() if (found := file.read())}
    missing = [depths for depths in ranges if depths not in baselines]
    done, total = count(1), len(training) * len(missing) + _images(splits, plan)

    def advance(*_: int) -> None:
        progress(next(done), total)

    with out_of_memory(f"lower evaluate.batch_size, which is {settings.batch_size}, or compute on another --device"):
        # Within the range that is scored, whatever the checkpoint was trained for: else better ones were possible.
        for depths in missing:
            baselines[depths] = image_free_depths(training, *depths, progress=advance)
            if depths in kept:
                kept[depths].write(baselines[depths])
        rest = (splits, splits, decoded, baselines, plan, settings, out, advance, name)
        found = _evaluate(facts, lambda _split: info.sha256, info.backbone, *rest)
    return replace(found, checkpoint=checkpoint)


def evaluate_saved(
    facts: SavedMapsFacts,
    read: Callable[[str], NDArray[np.float32]],
    splits: Mapping[str, _Split],
    depth_range: tuple[float, float],
    settings: EvaluateSettings,
    out: Path,
    progress: Advance = lambda _done, _total: None,
    *,
    name: str = "",
    force: bool = False,
) -> Evaluation:
    """Score the saved maps of any model.

    Args:
        facts: What they are.
        read: Gives the map [h, w] of a sample in metres, by the sample's id.
        splits: What can be scored.
        depth_range: Smallest and largest depth in metres where a protocol takes them from the settings.
        settings: How to score; flip averaging is the maps' own matter.
        out: Folder for the numbers (see `write_results`).
        progress: Called with (images done, images in all).
        name: Of the data set.
        force: Replace whatever result the folder holds.

    Raises:
        SpaceClipError: The folder holds another result, a map cannot be read or scored, or no pixel is valid.
    """
    hashes: dict[str, str] = {}

    def saved(truth: _Split, protocols: Sequence[Protocol], rows: Sequence[int]) -> Iterator[DepthMaps]:
        truths = read_truths(truth, [protocol.size for protocol in protocols])
        sample_ids, scenes, unusable = truth.sample_ids, truth.scenes, truth.quarantined
        for row in (row for row in rows if row not in unusable):
            sample_id, found = sample_ids[row], truths(row)
            # A frame without ground truth is skipped whatever was predicted for it; its map need not be there.
            known = any(depth.any() for depth in found.values())
            depth = read(sample_id) if known else np.ones((1, 1), np.float32)
            hashes[sample_id] = sha256(depth.tobytes()).hexdigest()
            check_shape(sample_id, depth.shape, [truth.shape for truth in found.values() if known])
            yield DepthMaps(row, sample_id, scenes[row], {SAVED: as_map(depth)}, found)

    def maps_hash(split: GroundTruth) -> str:
        return sha256("".join(hashes.get(name, "") for name in split.sample_ids).encode()).hexdigest()

    plan = _plan(settings, splits, depth_range, saved=True)
    if not force:
        require_free(out, facts, [(samples_digest(splits[split]), protocol) for split, protocol in plan])
    with out_of_memory("end what else holds memory"):
        return _evaluate(facts, maps_hash, None, {}, splits, saved, {}, plan, settings, out, progress, name)


def _evaluate(
    facts: CheckpointFacts | SavedMapsFacts,
    hash_of: Callable[[GroundTruth], str],
    backbone: Mapping[str, Any] | None,
    features: Mapping[str, FeatureCache],
    splits: Mapping[str, _Split],
    maps: _Maps[_Split],
    baselines: Baselines,
    plan: Sequence[tuple[str, Protocol]],
    settings: EvaluateSettings,
    out: Path,
    progress: Advance,
    name: str,
) -> Evaluation:
    """Score every protocol, each split in one pass, and write the numbers; examples are of the first protocol."""
    where = list(dict.fromkeys(split for split, _ in plan))
    total, done = _images(splits, plan), count(1)

    def counted(images: Iterable[DepthMaps]) -> Iterator[DepthMaps]:
        for image in images:
            progress(next(done), total)
            yield image

    by_plan: dict[tuple[str, Protocol], Scored] = {}
    for split in where:
        variants = [variant for at, variant in plan if at == split]
        images = counted(maps(splits[split], variants, range(len(splits[split]))))
        facts_of = partial(split_facts, split, splits[split], features.get(split))
        scored = score_split(images, facts_of, variants, baselines)
        # Noted before anybody can see a number.
        looked = _look(facts, hash_of, splits[split], variants, out) if scored[0].row.split == "test" else None
        for variant, found in zip(variants, scored, strict=True):
            by_plan[split, variant] = replace(found, row=found.row.model_copy(update={"looks": looked}))
    scored = [by_plan[each] for each in plan]
    first = splits[where[0]]
    results = Results(
        data=str(first.about.get("data")),
        name=name,
        model=facts,
        backbone=BackboneFacts.of(backbone) if backbone else None,
        rows=tuple(found.row for found in scored),
    )
    scores = tuple(found.scores for found in scored)
    sweep_folder(out, FILES)
    write_results(out, results, scores)
    protocol = plan[0][1]
    load = loader(lambda rows: maps(first, [protocol], rows), first, protocol, scores[0].images)
    examples = find_examples(scores[0].images, settings.figures, load)
    scale = DepthScale.of((example.ground_truth for example in examples.all), settings.figure_scale)
    views = ranked_views(features[where[0]], scores[0].images, SHOWN) if features else None
    return Evaluation(results, examples, scale, None, views)


def _look(
    facts: CheckpointFacts | SavedMapsFacts,
    hash_of: Callable[[GroundTruth], str],
    split: GroundTruth,
    variants: Sequence[Protocol],
    out: Path,
) -> Looks:
    """Note that something was scored on a test split; the variants of a protocol are one look."""
    if not isinstance(split, FeatureCache):
        return Looks(uncounted="it was read from its own files, not from a store")
    kind = "checkpoint" if isinstance(facts, CheckpointFacts) else "maps"
    protocols = dict.fromkeys(variant.setting for variant in variants)
    return note_looks([Look(kind, hash_of(split), protocol, str(out)) for protocol in protocols], split.path)


def _images(splits: Mapping[str, GroundTruth], plan: Sequence[tuple[str, Protocol]]) -> int:
    return sum(len(splits[split]) for split in {split for split, _ in plan})


def _plan(
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
