"""Evaluations as a user asks for them: of a checkpoint or of saved maps, by their paths."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from ..cache import FeatureCache, Features, SpaceClipError, out_of_memory, require_disjoint, require_same
from ..evaluate import (
    EvaluateSettings,
    Evaluation,
    GroundTruth,
    SavedMaps,
    SavedMapsFacts,
    SourceTruth,
    evaluate_checkpoints,
    evaluate_saved,
    reads_settings,
    scored_split,
    write_maps,
)
from ..train import Checkpoint, load_checkpoint
from .config import Experiment
from .device import choose_device
from .features import open_joined, open_scored, split_pointers
from .paths import require_writable
from .progress import progress

if TYPE_CHECKING:
    from ..cache import Location

_MIN_DEPTH = 0.001
_MAX_DEPTH = {"nyu": 10.0}
_FARTHEST = 80.0


def score_checkpoints(
    checkpoints: Mapping[Path, Path],
    features: "Location",
    settings: EvaluateSettings,
    *,
    baselines: "Sequence[Location]" = (),
    device: str | None = None,
    local_copy: Path | None = None,
    save_maps: Path | None = None,
    force: bool = False,
) -> list[Evaluation]:
    """Score checkpoints on the splits of a folder of features, or on one store, in one pass, and write the numbers.

    Args:
        checkpoints: By the folder for the numbers, the folder that holds the checkpoint, or one of its files.
        features: What to score on.
        settings: How to score.
        baselines: The stores that they were trained on, or the folders of all splits; by default that of what is
            scored.
        device: Where to compute; by default the best that is there.
        local_copy: Folder that keeps what is read of a bucket.
        save_maps: Folder for the maps that are scored, of one checkpoint.
        force: Replace whatever results the folders hold.

    Raises:
        SpaceClipError: A checkpoint was not trained on such features, or a store cannot be scored.
    """
    if save_maps:
        require_writable(save_maps)
        if not force and save_maps.is_dir() and any(save_maps.iterdir()):
            raise SpaceClipError(f"{save_maps} is not empty: give --save-maps a folder of its own, or --force")
    loaded = {out: _loaded(checkpoint, out, device or "auto") for out, checkpoint in checkpoints.items()}
    splits = open_scored(features, local_copy)
    folder = _folder_of(features)
    if not baselines and "train" not in split_pointers(folder):
        first = next(iter(checkpoints.values()))
        raise SpaceClipError(
            f"{folder}: holds no train.json, the baseline; name the store that {first} was trained on (--baseline)"
        )
    baselines = [split_pointers(given).get("train", given) for given in baselines or [folder]]
    training = open_joined(baselines, local_copy=local_copy)
    for checkpoint in loaded.values():
        _check_stores(checkpoint, splits, training)
    with progress("evaluate", "images") as report:
        return evaluate_checkpoints(
            *(loaded, splits, training, settings, report),
            name=folder.name,
            force=force,
            keep=baselines[0].parent if isinstance(baselines[0], Path) else local_copy,
            **({"save": lambda _out, maps: write_maps(save_maps, maps)} if save_maps else {}),
        )


def _loaded(checkpoint: Path, out: Path, device: str) -> Checkpoint:
    require_writable(out)
    with out_of_memory("end what else holds the device's memory, or give another --device"):
        loaded = load_checkpoint(checkpoint, choose_device(device))
    if samples := loaded.info.training.get("overfit"):
        click.echo(
            f"warning: {checkpoint} was overfit to {samples} samples (train.overfit), to see that a decoder can learn: "
            "its scores say nothing; train without it",
            err=True,
        )
    return loaded


def score_saved(
    folder: Path,
    experiment: Experiment | None,
    features: "Location | None",
    settings: EvaluateSettings,
    out: Path,
    *,
    name: str | None = None,
    depth_scale: float | None = None,
    max_depth: float | None = None,
    local_copy: Path | None = None,
    force: bool = False,
) -> Evaluation:
    """Score saved maps of any model, against a store or else the files of an experiment, and write the numbers.

    Args:
        folder: Holds the maps, named by the ids of the samples.
        experiment: Whose data set is scored on, where no features are given.
        features: A store, or the folder of all splits.
        settings: How to score.
        out: Folder for the numbers.
        name: Of the model; by default the folder's.
        depth_scale: Stored values of one metre; integers need it, but for files that say it, as `predict`'s.
        max_depth: Of protocols without a range of their own, metres; by default the experiment's, else 10 (NYU) or 80.
        local_copy: Folder that keeps what is read of a bucket.
        force: Replace whatever result the folder holds.

    Raises:
        SpaceClipError: A map is missing or cannot be scored.
    """
    from ..extract.sources.folder import DEPTH_SUFFIXES
    from .prediction.files import FORMATS

    require_writable(out)
    # Those of `predict` first: in its folder a .png may be the image.
    suffixes = dict.fromkeys((*(FORMATS[kind].suffix for kind in ("npy", "png16")), *DEPTH_SUFFIXES))
    maps = SavedMaps(folder, [*suffixes], partial(_metres, scale=depth_scale))
    splits: Mapping[str, GroundTruth]
    if features is not None:
        splits, data_name = open_scored(features, local_copy), _folder_of(features).name
    elif experiment is not None:
        splits, data_name = _from_files(experiment), experiment.features or ""
    else:
        raise SpaceClipError("saved maps need a truth: give --features (a store) or --config (an experiment)")
    data = next((split.about.get("data") for split in splits.values()), None)
    farthest = experiment.train.max_depth if experiment else _MAX_DEPTH.get(str(data), _FARTHEST)
    if max_depth is not None:
        if not any(reads_settings(protocol, str(data)) for protocol in settings.protocols):
            raise SpaceClipError(
                f"--max-depth {max_depth:g}: {' and '.join(settings.protocols)} on {data} take none; "
                "it is of validation, and of controlled on data other than kitti and nyu"
            )
        settings = settings.model_copy(update={"max_depth": max_depth})
    for split in dict.fromkeys(scored_split(protocol, splits) for protocol in settings.protocols):
        maps.check(splits[split])
    facts = SavedMapsFacts(path=str(folder), name=name or folder.resolve().name, depth_scale=depth_scale)
    with progress("score", "images") as report:
        found = evaluate_saved(
            facts, maps, splits, (_MIN_DEPTH, farthest), settings, out, report, name=data_name, force=force
        )
    if maps.with_zeros:
        click.echo(f"{len(maps.with_zeros)} maps hold zeros, which were scored as {_MIN_DEPTH:g} m", err=True)
    return found


def _metres(file: Path, scale: float | None) -> NDArray[np.float32]:
    """A saved map [h, w], by the scale that its own text says or else the one given."""
    from ..extract.sources.folder import decode_depth, said_scale

    said = said_scale(file)
    if said and scale and said != scale:
        raise SpaceClipError(
            f"{file} says that a metre is {said:g} of its values, --depth-scale that it is {scale:g}: leave that out"
        )
    return decode_depth(file, said or scale)


def _folder_of(features: "Location") -> "Location":
    """The folder of all splits, of which a store may be one."""
    return features if split_pointers(features) else features.parent


def _check_stores(checkpoint: Checkpoint, splits: Mapping[str, FeatureCache], training: Features) -> None:
    """Refuse features of another encoder, and those that the checkpoint may have seen."""
    wanted = {"backbone": checkpoint.info.backbone, "preprocessing": checkpoint.info.preprocessing}
    for cache in splits.values():
        require_same(cache.identity, wanted, str(cache.path))
        cache.require(checkpoint.info.decoder.layers, depth=True)
    checkpoint.info.require_unseen(splits)
    trained_on = {store["ledger"] for store in checkpoint.info.stores}
    stores = "the store" if len(trained_on) == 1 else f"each of the {len(trained_on)} stores"
    if {store.digest for store in training.stores} != trained_on:
        raise SpaceClipError(
            f"{training.path}: not the features that {checkpoint.path} was trained on, so what it has seen is unknown; "
            f"train again on these, or give {stores} it was trained on as --baseline"
        )
    require_disjoint({"train": training, **splits})


def _from_files(experiment: Experiment) -> dict[str, SourceTruth]:
    """The splits of a data set that can be scored, read from its own files."""
    from ..extract import describe, open_splits, prepare_depth

    sources = open_splits(experiment.data)
    scored = {name: source for name, source in sources.items() if name != "train"}
    for source in scored.values():
        source.check()
    return {
        name: SourceTruth(
            source, describe(experiment.data, name, sources), experiment.extract.target_size, prepare_depth
        )
        for name, source in scored.items()
    }
