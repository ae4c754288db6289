"""One evaluation: a checkpoint and the mean depth map scored on the same rows, as numbers and figures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..cache import FeatureCache
from ..train import Checkpoint
from .baseline import mean_depth_map, predict_mean_depth
from .figures import PredictionRow, error_figure, prediction_figure
from .inference import predict
from .protocol import EvaluateSettings
from .results import BackboneFacts, CheckpointFacts, Results, write_results
from .scoring import Prediction, score

FIGURE = "predictions.png"
ERRORS = "errors.png"


def protocol_name(cache: FeatureCache) -> str:
    """`controlled` for rows held out by scene; `custom` for any other choice of them."""
    return "controlled" if cache.about.get("split_by") == "scene" else "custom"


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    cache: FeatureCache,
    training: FeatureCache,
    settings: EvaluateSettings,
    out: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Results:
    """Score a checkpoint beside the mean depth map of its training split.

    Args:
        checkpoint: The decoder, on the device to compute on.
        cache: The rows to score.
        training: The split whose mean depth map is the baseline.
        settings: How to score.
        out: Folder of `results.json`, `metrics.json`, `per_image.csv`, `predictions.png` and `errors.png`.
        progress: Called with (images done, images in all).

    Raises:
        SpaceClipError: A store lacks depth, a hidden state or the flipped view, or no pixel is valid.
    """
    info = checkpoint.info
    protocol = settings.protocol(protocol_name(cache), info.min_depth, info.max_depth)
    shown = set(np.linspace(0, len(cache) - 1, min(settings.figures, len(cache))).round().astype(int).tolist())
    rows: list[PredictionRow] = []

    def predictions() -> Iterator[Prediction]:
        found = predict(
            checkpoint.decoder,
            cache,
            flip_average=settings.flip_average,
            precision=settings.precision,
            batch_size=settings.batch_size,
        )
        for index, prediction in enumerate(found):
            if index in shown:
                image = cache.image(index)
                rows.append(PredictionRow(prediction.sample_id, image, prediction.depth, prediction.ground_truth))
            progress(index + 1, len(cache))
            yield prediction

    scores = score(predictions(), protocol)
    baseline = score(predict_mean_depth(mean_depth_map(training), cache), protocol)
    facts = CheckpointFacts(path=str(checkpoint.path), sha256=info.sha256, epoch=info.epoch, weights=info.weights)
    results = Results.of(scores, baseline, facts, BackboneFacts.of(info.backbone))
    write_results(out, results, scores)
    if rows:
        prediction_figure(rows, out / FIGURE, results)
    error_figure(scores, baseline, out / ERRORS, results)
    return results
