"""Finished results: their images decoded once more to be shown, and what is scored once and for all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..cache import FeatureCache, Features, SpaceClipError, require_same
from ..train import Checkpoint
from .examples import Example, loader, ranked
from .facts import BackboneFacts, CheckpointFacts
from .inference import device_of, predict
from .probing import FeatureViews, ranked_views
from .protocol import Protocol
from .result_files import read_metrics, read_results, write_results
from .results import Results, Row
from .scoring import WHOLE, DepthMaps, ImageScore
from .split_scoring import score_split, split_facts
from .truths import read_truths, samples_digest


def finished_examples(
    folder: Path, results: Results, checkpoint: Checkpoint, splits: Mapping[str, FeatureCache], count: int
) -> tuple[dict[str, list[Example]], FeatureViews]:
    """The best, middling and worst images of a result's first row, by group; and layers of some of them.

    Args:
        folder: Where the result lies.
        results: The result.
        checkpoint: What was scored.
        splits: Features, among them those that were scored.
        count: How many images.

    Raises:
        SpaceClipError: The weights or the features are not those that were scored, or the result is not whole.
    """
    row, protocol = results.rows[0], results.rows[0].protocol
    assert isinstance(results.model, CheckpointFacts)
    if checkpoint.info.sha256 != results.model.sha256:
        raise SpaceClipError(
            f"{checkpoint.path}: was trained anew since {folder} was written (sha256 {checkpoint.info.sha256[:12]}, "
            f"expected {results.model.sha256[:12]}); evaluate again"
        )
    cache = next((split for split in splits.values() if row.is_of(samples_digest(split), split.digest)), None)
    if cache is None:
        raise SpaceClipError(
            f"{folder}: these features are not those that were scored ({row.count}); name those with --features, or "
            "evaluate again"
        )
    wanted = {"backbone": checkpoint.info.backbone, "preprocessing": checkpoint.info.preprocessing}
    require_same(cache.identity, wanted, str(cache.path))
    images = _scores(folder, row, cache)

    def maps(rows: Sequence[int]) -> Iterator[DepthMaps]:
        flip, truths = bool(protocol.flip_average), read_truths(cache, [protocol.size])
        return predict(checkpoint.decoder, cache, rows, flip_average=flip, truths=truths)

    groups = ranked(images, count)
    load = loader(maps, cache, protocol, images)
    found = {
        one.score.sample_id: one for one in load({image.sample_id for group in groups.values() for image in group})
    }
    examples = {name: [found[image.sample_id] for image in group] for name, group in groups.items()}
    return examples, ranked_views(cache, images, count)


def scored_once(
    folder: Path, checkpoint: Checkpoint, split: Features, protocol: Protocol, maps: Iterable[DepthMaps]
) -> tuple[Row, list[ImageScore]]:
    """The scores of a checkpoint without baselines: those of a folder, if they are, else scored and written there.

    Args:
        folder: Of the scores alone.
        checkpoint: What is scored.
        split: On what.
        protocol: How.
        maps: What it predicts of the split; not looked at where the folder has the scores.
    """
    with suppress(SpaceClipError):
        results = read_results(folder)
        row, model = results.rows[0], results.model
        of = (row.protocol, row.features_sha256, model.sha256 if isinstance(model, CheckpointFacts) else "")
        if of == (protocol, split.digest, checkpoint.info.sha256) and row.breakdown:
            return row, _scores(folder, row, split)
    cache = split if isinstance(split, FeatureCache) else None
    facts_of = partial(split_facts, "val", split, cache)
    ((found,),) = score_split([maps], {"": iter}, facts_of, [protocol], {}, device_of(checkpoint.decoder))
    results = Results(
        data=str(split.about.get("data")),
        model=CheckpointFacts.of(checkpoint, split.storage),
        backbone=BackboneFacts.of(checkpoint.info.backbone),
        rows=(found.row,),
    )
    write_results(folder, results, [found.scores])
    return found.row, _scores(folder, found.row, split)


def _scores(folder: Path, row: Row, split: Features) -> list[ImageScore]:
    """The images of the first row of a result, in the order of the split."""
    left_out = {*row.skipped, *row.quarantined}
    named = [(name, scene) for name, scene in zip(split.sample_ids, split.scenes, strict=True) if name not in left_out]
    return [
        ImageScore(name, scene, {}, {WHOLE: metrics})
        for (name, scene), metrics in zip(named, read_metrics(folder, len(named)), strict=True)
    ]
