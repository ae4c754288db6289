"""Checkpoints, scored by every protocol asked for, in one pass over the features."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ..cache import FeatureCache, Features, SpaceClipError, out_of_memory
from ..train import Checkpoint
from .baselines import image_free_depths
from .evaluation import Advance, Evaluation, Model, evaluate_models, images_of, plan_of
from .facts import BackboneFacts, CheckpointFacts
from .inference import StoredBatch, decode_batch, device_of, read_batches
from .kept_baselines import KeptDepths
from .protocol import EvaluateSettings, Protocol
from .result_folder import require_free
from .scoring import DepthMaps
from .truths import read_truths, samples_digest

Save = Callable[[Path, DepthMaps], None]


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    splits: Mapping[str, FeatureCache],
    training: Features,
    settings: EvaluateSettings,
    out: Path,
    progress: Advance = lambda _done, _total: None,
    **given: Any,
) -> Evaluation:
    """Score one checkpoint, see `evaluate_checkpoints`."""
    (found,) = evaluate_checkpoints({out: checkpoint}, splits, training, settings, progress, **given)
    return found


def evaluate_checkpoints(
    checkpoints: Mapping[Path, Checkpoint],
    splits: Mapping[str, FeatureCache],
    training: Features,
    settings: EvaluateSettings,
    progress: Advance = lambda _done, _total: None,
    *,
    name: str = "",
    force: bool = False,
    keep: Path | None = None,
    save: Save = lambda _out, _maps: None,
) -> list[Evaluation]:
    """Score checkpoints beside the best predictions without an image, all in one pass.

    Args:
        checkpoints: The decoders, on the device to compute on, by the folder for their numbers (see `write_results`).
        splits: What can be scored, `val` and `test` or one of them; each split a protocol asks for is read once.
        training: The split that those predictions are made of.
        settings: How to score.
        progress: Called with (images done, images in all), those of the training split too, once for each range scored.
        name: Of the data set.
        force: Replace whatever results the folders hold.
        keep: Folder that keeps those predictions, so that the next evaluation does not read the training split.
        save: Called with the folder of a checkpoint's numbers, and with each of the maps that are scored of it.

    Raises:
        SpaceClipError: A folder holds another result, a store lacks depth, a hidden state or the flipped view, no pixel
            is valid, or the checkpoints would be scored within different ranges of depth.
    """
    decoders = [checkpoint.decoder for checkpoint in checkpoints.values()]
    layers = sorted({layer for decoder in decoders for layer in decoder.settings.layers})
    device = device_of(decoders[0])

    def read(cache: FeatureCache, protocols: Sequence[Protocol], rows: Sequence[int]) -> Iterator[StoredBatch]:
        return read_batches(
            *(cache, rows, layers, device),
            flip_average=settings.flip_average,
            truths=read_truths(cache, [protocol.size for protocol in protocols]),
            batch_size=settings.batch_size,
        )

    plans = [
        plan_of(settings, splits, (checkpoint.info.min_depth, checkpoint.info.max_depth), saved=False)
        for checkpoint in checkpoints.values()
    ]
    plan = plans[0]
    if different := next((other for other in plans if other != plan), None):
        raise SpaceClipError(
            f"checkpoints that are scored together would be by {plan[0][1].label} and by {different[0][1].label}; set "
            "evaluate.min_depth and evaluate.max_depth, or score each by itself"
        )
    models = [_model(checkpoint, training, settings, out, save) for out, checkpoint in checkpoints.items()]
    scored = [(samples_digest(splits[split]), protocol) for split, protocol in plan]
    for model in models if not force else ():
        require_free(model.out, model.facts, scored)
    ranges = list(dict.fromkeys(protocol.depth_range for _, protocol in plan))
    kept = {depths: KeptDepths(keep, training, depths) for depths in ranges} if keep else {}
    baselines = {depths: found for depths, file in kept.items() if (found := file.read())}
    missing = [depths for depths in ranges if depths not in baselines]
    done, total = count(1), len(training) * len(missing) + images_of(splits, plan)

    def advance(*_: int) -> None:
        progress(next(done), total)

    with out_of_memory(f"lower evaluate.batch_size, which is {settings.batch_size}, or compute on another --device"):
        # Within the range that is scored, whatever the checkpoint was trained for: else better ones were possible.
        for depths in missing:
            baselines[depths] = image_free_depths(training, *depths, progress=advance)
            if depths in kept:
                kept[depths].write(baselines[depths])
        return evaluate_models(models, splits, splits, read, baselines, plan, settings, advance, name, device)


def _model(checkpoint: Checkpoint, training: Features, settings: EvaluateSettings, out: Path, save: Save) -> Model:
    info = checkpoint.info

    def predict(batch: StoredBatch) -> Iterator[DepthMaps]:
        for maps in decode_batch(checkpoint.decoder, batch, settings.precision):
            save(out, maps)
            yield maps

    return Model(
        facts=CheckpointFacts.of(checkpoint, training.storage),
        backbone=BackboneFacts.of(info.backbone),
        checkpoint=checkpoint,
        out=out,
        predict=predict,
        hash_of=lambda _split: info.sha256,
    )
