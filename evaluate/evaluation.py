"""One evaluation: a checkpoint, or saved maps, scored by every protocol asked for, as numbers and figures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..cache import FeatureCache, SpaceClipError
from ..train import Checkpoint
from .baseline import mean_depth_map
from .figures import PredictionRow, error_figure, prediction_figure
from .inference import predict
from .protocol import EvaluateSettings, Protocol, ProtocolName
from .report import ERRORS, FIGURE, write_report
from .result_files import write_results
from .results import BackboneFacts, CheckpointFacts, Results, Row, SavedMapsFacts
from .scoring import (
    AVERAGED,
    MEAN_DEPTH,
    PLAIN,
    SAVED,
    DepthMaps,
    Scorer,
    Scores,
    as_map,
    score,
    to_size,
)
from .truths import GroundTruth, read_truths

Advance = Callable[[int, int], None]
_KB_CROP = (352, 1216)
_MADE_BY = {True: AVERAGED, False: PLAIN, None: SAVED}
_Split = TypeVar("_Split", bound=GroundTruth)


def scored_split(name: ProtocolName, splits: Mapping[str, GroundTruth]) -> str:
    """Which split a protocol scores.

    `standard` and `paper` score the test set. `controlled` scores what was held out by scene of the data trained on: a
    test part where there is one, else the validation part; where nothing was, the test set (and is named `custom`).

    Raises:
        SpaceClipError: There is no such split.
    """
    held_out = [
        split for split in ("test", "val") if split in splits and splits[split].about.get("split_by") == "scene"
    ]
    wanted = held_out[0] if name == "controlled" and held_out else "test"
    if wanted not in splits:
        remedy = "hold scenes out with data.split.val" if name == "controlled" else "give the data set its test list"
        raise SpaceClipError(
            f"the {name} protocol scores the {wanted} split, these features have "
            f"{' and '.join(splits) or 'none to score'}: {remedy} and extract again, or choose another protocol"
        )
    return wanted


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    splits: Mapping[str, FeatureCache],
    training: FeatureCache,
    settings: EvaluateSettings,
    out: Path,
    progress: Advance = lambda _done, _total: None,
) -> Results:
    """Score a checkpoint beside the mean depth map of its training split.

    Args:
        checkpoint: The decoder, on the device to compute on.
        splits: What can be scored, `val` and `test` or one of them; each split a protocol asks for is read once.
        training: The split whose mean depth map is the baseline.
        settings: How to score.
        out: Folder of the result's tables and figures.
        progress: Called with (images done, images in all).

    Raises:
        SpaceClipError: A store lacks depth, a hidden state or the flipped view, or no pixel is valid.
    """
    info = checkpoint.info

    def decoded(cache: FeatureCache, protocols: Sequence[Protocol]) -> Iterator[DepthMaps]:
        return predict(
            checkpoint.decoder,
            cache,
            flip_average=settings.flip_average,
            truths=read_truths(cache, [protocol.size for protocol in protocols]),
            precision=settings.precision,
            batch_size=settings.batch_size,
        )

    facts = CheckpointFacts(
        path=str(checkpoint.path), sha256=info.sha256, epoch=info.epoch, weights=info.weights, chosen=info.chosen
    )
    depths = (info.min_depth, info.max_depth)
    mean_depth = mean_depth_map(training)
    return _evaluate(facts, info.backbone, splits, decoded, mean_depth, depths, settings, out, progress)


def evaluate_saved(
    facts: SavedMapsFacts,
    read: Callable[[str], NDArray[np.float32]],
    splits: Mapping[str, _Split],
    depth_range: tuple[float, float],
    settings: EvaluateSettings,
    out: Path,
    progress: Advance = lambda _done, _total: None,
) -> Results:
    """Score the saved maps of any model.

    Args:
        facts: What they are.
        read: Gives the map [h, w] of a sample in metres, by the sample's id.
        splits: What can be scored.
        depth_range: Smallest and largest depth in metres of the `controlled` protocol.
        settings: How to score; flip averaging is the maps' own matter.
        out: Folder of the result's tables and figures.
        progress: Called with (images done, images in all).

    Raises:
        SpaceClipError: A map cannot be read or scored, or no pixel is valid.
    """

    def saved(truth: _Split, protocols: Sequence[Protocol]) -> Iterator[DepthMaps]:
        truths = read_truths(truth, [protocol.size for protocol in protocols])
        unusable = truth.quarantined
        for row, (sample_id, scene) in enumerate(zip(truth.sample_ids, truth.scenes, strict=True)):
            if row in unusable:
                continue
            found = truths(row)
            # A frame without ground truth is skipped whatever was predicted for it; its map need not be there.
            known = any(depth.any() for depth in found.values())
            depth = read(sample_id) if known else np.ones((1, 1), np.float32)
            check_shape(sample_id, depth.shape, [truth.shape for truth in found.values() if known])
            yield DepthMaps(row, sample_id, scene, {SAVED: as_map(depth)}, found)

    return _evaluate(facts, None, splits, saved, None, depth_range, settings, out, progress)


def check_shape(sample_id: str, shape: tuple[int, ...], truths: Iterable[tuple[int, ...]]) -> None:
    """Refuse a saved map that would be stretched onto pixels it was not predicted for.

    Any other size is resized to the truth's, whole frame to whole frame.

    Raises:
        SpaceClipError: It lies on its side, or covers KITTI's KB crop of a frame whose truth does not.
    """
    for height, width in truths:
        if shape == (width, height) and height != width:
            raise SpaceClipError(
                f"{sample_id}: the saved map is {width} x {height} and its truth {height} x {width}, expected rows "
                "first: transpose the maps"
            )
        if shape == _KB_CROP and (height > _KB_CROP[0] and width > _KB_CROP[1]):
            raise SpaceClipError(
                f"{sample_id}: the saved map is 352 x 1216, KITTI's KB crop, and its truth {height} x {width}: set "
                "data.kb_crop, or save maps of whole frames"
            )


@dataclass(frozen=True)
class _Scored:
    """A row of the result, and what it was made from."""

    row: Row
    scores: Scores
    baseline: Scores | None


def _evaluate(
    facts: CheckpointFacts | SavedMapsFacts,
    backbone: Mapping[str, str] | None,
    splits: Mapping[str, _Split],
    maps: Callable[[_Split, Sequence[Protocol]], Iterable[DepthMaps]],
    mean_depth: NDArray[np.float32] | None,
    depth_range: tuple[float, float],
    settings: EvaluateSettings,
    out: Path,
    progress: Advance,
) -> Results:
    """Score every protocol, each split in one pass, and write tables and figures; figures are of the first protocol."""
    where = [scored_split(name, splits) for name in settings.protocols]
    protocols = [
        settings.protocol(name, splits[split].about, *depth_range)
        for name, split in zip(settings.protocols, where, strict=True)
    ]
    if backbone is None:
        protocols = [protocol.model_copy(update={"flip_average": None}) for protocol in protocols]
    first = splits[where[0]]
    watch = _Watch(first, protocols[0], settings.figures, sum(len(splits[split]) for split in set(where)), progress)
    by_setting: dict[str, list[_Scored]] = {protocol.setting: [] for protocol in protocols}
    for split in dict.fromkeys(where):
        mine = [protocol for protocol, at in zip(protocols, where, strict=True) if at == split]
        variants = [variant for protocol in mine for variant in settings.variants(protocol)]
        images = watch.images(maps(splits[split], variants), splits[split])
        name = str(splits[split].about.get("split", split))
        ids = splits[split].sample_ids
        unusable = tuple(ids[row] for row in splits[split].quarantined)
        for found in _score_split(images, name, variants, mean_depth, unusable):
            by_setting[found.row.protocol.setting].append(found)
    scored = [found for several in by_setting.values() for found in several]
    results = Results(
        data=str(first.about.get("data")),
        model=facts,
        backbone=BackboneFacts.of(backbone) if backbone else None,
        rows=tuple(found.row for found in scored),
    )
    write_results(out, results, [found.scores for found in scored])
    caption = results.caption(scored[0].row)
    prediction_figure(watch.drawn, out / FIGURE, protocols[0], caption)
    error_figure(scored[0].scores, scored[0].baseline, out / ERRORS, caption)
    write_report(out)
    return results


class _Watch:
    """Counts images on their way to the scorers, and keeps some of one split for the figure."""

    def __init__(self, split: GroundTruth, protocol: Protocol, figures: int, total: int, progress: Advance) -> None:
        rows = np.linspace(0, len(split) - 1, min(figures, len(split)))
        self._split, self._protocol, self._rows = split, protocol, set(rows.round().astype(int).tolist())
        self._done, self._total, self._progress = 0, total, progress
        self.drawn: list[PredictionRow] = []

    def images(self, maps: Iterable[DepthMaps], split: GroundTruth) -> Iterator[DepthMaps]:
        """The maps themselves."""
        for image in maps:
            if split is self._split and image.row in self._rows and self._is_predicted(image):
                self.drawn.append(self._drawable(image))
            self._done += 1
            self._progress(self._done, self._total)
            yield image

    def _is_predicted(self, image: DepthMaps) -> bool:
        """Not so for saved maps where there is no truth: their files are never read."""
        return SAVED not in image.depths or bool(image.truths[self._protocol.size].any())

    def _drawable(self, image: DepthMaps) -> PredictionRow:
        ground_truth = image.truths[self._protocol.size]
        size = (ground_truth.shape[0], ground_truth.shape[1])
        depth = to_size(image.depths[_MADE_BY[self._protocol.flip_average]], size)
        return PredictionRow(image.sample_id, self._split.image(image.row), depth, ground_truth)


def _score_split(
    maps: Iterable[DepthMaps],
    split: str,
    variants: Sequence[Protocol],
    mean_depth: NDArray[np.float32] | None,
    unusable: tuple[str, ...],
) -> list[_Scored]:
    """Score every variant, and the mean depth map once for each protocol and scaling, in one pass."""
    scorers = [(_MADE_BY[variant.flip_average], Scorer(variant)) for variant in variants]
    # The mean depth map knows no views: its numbers are the same with flip averaging and without.
    unflipped = [variant.model_copy(update={"flip_average": False}) for variant in variants]
    baselines = {variant: Scorer(variant, regions=False) for variant in unflipped} if mean_depth is not None else {}

    def with_mean() -> Iterator[DepthMaps]:
        for image in maps:
            yield (
                image if mean_depth is None else image._replace(depths={**image.depths, MEAN_DEPTH: as_map(mean_depth)})
            )

    score(with_mean(), scorers + [(MEAN_DEPTH, scorer) for scorer in baselines.values()])
    found = []
    for (_, scorer), variant in zip(scorers, unflipped, strict=True):
        baseline = baselines[variant].scores() if baselines else None
        found.append(_Scored(Row.of(split, scorer.scores(), baseline, unusable), scorer.scores(), baseline))
    return found
