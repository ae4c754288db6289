"""Images of a finished result, decoded once more to be shown."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..cache import FeatureCache, SpaceClipError, require_same
from ..train import Checkpoint
from .examples import Example, loader, ranked
from .facts import CheckpointFacts
from .inference import predict
from .probing import FeatureViews, ranked_views
from .result_files import read_metrics
from .results import Results
from .scoring import WHOLE, DepthMaps, ImageScore
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
    cache = next((split for split in splits.values() if samples_digest(split) == row.samples_sha256), None)
    if cache is None:
        raise SpaceClipError(
            f"{folder}: these features have other samples than were scored ({row.count}); name those with --features, "
            "or evaluate again"
        )
    wanted = {"backbone": checkpoint.info.backbone, "preprocessing": checkpoint.info.preprocessing}
    require_same(cache.identity, wanted, str(cache.path))
    left_out = {*row.skipped, *row.quarantined}
    named = [(name, scene) for name, scene in zip(cache.sample_ids, cache.scenes, strict=True) if name not in left_out]
    images = [
        ImageScore(name, scene, {}, {WHOLE: metrics})
        for (name, scene), metrics in zip(named, read_metrics(folder, len(named)), strict=True)
    ]

    def maps(rows: Sequence[int]) -> Iterator[DepthMaps]:
        flip, truths = bool(protocol.flip_average), read_truths(cache, [protocol.size])
        return predict(checkpoint.decoder, cache, rows, flip_average=flip, truths=truths)

    groups = ranked(images, count)
    load = loader(maps, cache, protocol, images)
    found = {
        one.score.sample_id: one for one in load({image.sample_id for group in groups.values() for image in group})
    }
    examples = {name: [found[image.sample_id] for image in group] for name, group in groups.items()}
    return examples, ranked_views(cache, images)
