"""Training as a user asks for it: on a folder of features, by its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cache import Features, require_disjoint
from ..evaluate import EvaluateSettings
from ..train import (
    Callbacks,
    CheckpointInfo,
    DecoderSettings,
    Epoch,
    Plan,
    TrainSettings,
    fit,
    range_warning,
)
from .device import choose_device
from .features import open_training, open_validation
from .paths import require_writable
from .progress import progress
from .validation import ValidationScores

if TYPE_CHECKING:
    from ..cache import Location


def train_decoder(
    features: "Sequence[Location]",
    out: Path,
    settings: TrainSettings,
    decoder: DecoderSettings,
    scoring: EvaluateSettings,
    *,
    expect: dict[str, Any] | None = None,
    device: str = "auto",
    local_copy: Path | None = None,
    force: bool = False,
) -> CheckpointInfo:
    """Train on the `train` splits of folders of features and choose weights on their `val` splits, if there are any.

    Args:
        features: The folders with both pointers.
        out: Folder of the checkpoint.
        settings: The recipe; a batch size that nobody asked for is lowered to the images that there are.
        decoder: The network.
        scoring: How the validation split is scored.
        expect: Identity fields that the features must have.
        device: Where to train.
        local_copy: Folder that keeps what is read of a bucket.
        force: Replace a finished checkpoint.

    Raises:
        SpaceClipError: The features do not fit, or the run cannot go on (see `fit`).
    """
    require_writable(out)
    place = choose_device(device)
    training, validation = open_splits(features, expect, local_copy)
    decoder = decoder.for_features(training.identity["tokens"]["channels"])
    for cache in filter(None, (training, validation)):
        cache.require(decoder.layers, depth=True)
    images = len(training.usable[: settings.overfit])
    if (fitted := settings.fitted(images)) != settings:
        settings = fitted
        click.echo(f"batch_size {settings.batch_size}, one step an epoch: there are only {images} images", err=True)
    protocol, score = None, None
    if validation is not None:
        scoring = scoring.model_copy(update={"flip_average": False})
        protocol = scoring.protocol("validation", validation.about, settings.min_depth, settings.max_depth)
        score = ValidationScores(training, validation)
    epochs: list[Epoch] = []

    def each_epoch(_plan: Plan, epoch: Epoch) -> None:
        epochs.append(epoch)
        click.echo(str(epoch), err=True)
        if epoch.collapsed and settings.collapse == "restart":
            click.echo("warning: collapsed; it starts again from the first step, with the next seed", err=True)
        within, depths = epoch.valid / epoch.measured, (settings.min_depth, settings.max_depth)
        if epoch.epoch == 1 and (text := range_warning(within, epoch.mean_depth, *depths)):
            click.echo(f"warning: {text}", err=True)

    def beginning(_plan: Plan, done: int, total: int, others: Sequence[Path]) -> None:
        if text := start_line(done, total, others):
            click.echo(text, err=True)

    with progress("train", "steps") as report:
        (info,) = fit(
            training,
            [Plan(out, decoder, settings, protocol.model_dump() if protocol else {})],
            score=score,
            device=place,
            validation=validation,
            force=force,
            callbacks=Callbacks(report, each_epoch, beginning),
        )
    scored = (
        f"validation AbsRel {info.metrics['abs_rel']:.4f} ({protocol.label})" if protocol else "no validation split"
    )
    done = "" if epochs else "already finished: "
    click.echo(f"{done}{out}: {info.weights} weights of epoch {info.epoch} ({info.chosen}), {scored}")
    if epochs:
        click.echo(str(info.receipt), err=True)
    if settings.overfit:
        click.echo(f"overfit to {settings.overfit} samples: its scores say nothing", err=True)
    if info.collapsed:
        seeds = ", ".join(str(start["seed"]) for start in info.collapsed)
        click.echo(f"warning: it collapsed and was started again {len(info.collapsed)} times (seed {seeds})", err=True)
    if collapsed := [epoch.epoch for epoch in epochs if epoch.collapsed and epoch.restarts == len(info.collapsed)]:
        click.echo(
            f"warning: this run collapsed (most of the predicted depth is 0 m, first in epoch {collapsed[0]}): its "
            "scores say little about the decoder; train again with another seed or a lower learning_rate",
            err=True,
        )
    return info


def start_line(done: int, total: int, others: Sequence[Path]) -> str:
    """What to say where a run goes on, or leaves the unfinished states of other runs; nothing of a plain start."""
    if done:
        return f"going on after step {done:,} of {total:,}"
    if others:
        return (
            f"starting from the first step: {', '.join(map(str, others))} is of other settings, features or code, and "
            "stays; delete it if you do not want it"
        )
    return ""


def open_splits(
    folders: "Sequence[Location]", expect: dict[str, Any] | None, local_copy: Path | None
) -> tuple[Features, Features | None]:
    """The training features of folders, and those of validation, if they have any.

    Raises:
        SpaceClipError: They are not there, not those expected, or share samples or scenes.
    """
    training = open_training(folders, expect, local_copy)
    validation = open_validation(folders, training, local_copy)
    require_disjoint({"train": training} | ({"val": validation} if validation is not None else {}))
    return training, validation
