"""`spaceclip train`: from cached features to a decoder."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..cache import FeatureCache
    from ..evaluate import EvaluateSettings
    from ..train import DecoderSettings, TrainSettings


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Experiment file; the other way is --features.")
@click.option("--features", type=click.Path(path_type=Path), help="Folder with train.json and val.json.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where the checkpoint goes. [default: results/<experiment>]"
)
@click.option("--epochs", type=int, help="Without --config: passes over the training features.")
@click.option("--batch-size", type=int, help="Without --config: images in a step.")
@click.option("--max-depth", type=float, help="Without --config: farthest depth in metres that counts.")
@click.option("--device", default="auto", show_default=True)
def train(config: Path | None, features: Path | None, out: Path | None, device: str, **options: Any) -> None:
    """Train a decoder on cached features alone.

    Either an experiment:  spaceclip train --config configs/demo.yaml

    or any store:          spaceclip train --features features/mine --out results/mine

    An interrupted run goes on from its last whole epoch when the same command is given again, with the same result.
    """
    from ..evaluate import EvaluateSettings
    from ..train import DecoderSettings, TrainSettings
    from .config import check_settings, load_experiment

    given = {name: value for name, value in options.items() if value is not None}
    if config is not None:
        if given:
            raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} and --config: edit the experiment's file")
        experiment = load_experiment(config)
        features = features or Path("features") / config.stem
        out = out or Path("results") / config.stem
        expect = {"backbone": experiment.backbone.expected_identity()}
        run(features, out, experiment.decoder, experiment.train, experiment.evaluate, device, expect)
    elif features is None or out is None:
        raise click.UsageError("give --config, or --features and --out")
    else:
        channels = open_training(features, None).identity["tokens"]["channels"]
        settings = check_settings(TrainSettings, given, "options")
        run(features, out, DecoderSettings(hidden_size=channels), settings, EvaluateSettings(), device, None)


def run(
    features: Path,
    out: Path,
    decoder: "DecoderSettings",
    settings: "TrainSettings",
    scoring: "EvaluateSettings",
    device: str,
    expect: dict[str, Any] | None,
) -> None:
    """Train on the `train` split of a folder of features and choose weights on its `val` split, if it has one."""
    from ..cache import require_disjoint
    from ..evaluate import validate
    from ..train import Epoch, fit
    from .device import choose_device
    from .progress import progress

    train_cache = open_training(features, expect)
    val_cache = open_validation(features, train_cache)
    if val_cache is not None:
        require_disjoint({"train": train_cache, "val": val_cache})
    for cache in filter(None, (train_cache, val_cache)):
        cache.require(decoder.layers, depth=True)
    protocol, score = None, None
    if val_cache is not None:
        scoring = scoring.model_copy(update={"flip_average": False})
        protocol = scoring.protocol("controlled", val_cache.about, settings.min_depth, settings.max_depth)
        score = partial(validate, cache=val_cache, protocol=protocol, precision=settings.precision)

    with progress("train", "steps") as report:

        def told(epoch: Epoch) -> None:
            click.echo(str(epoch), err=True)

        info = fit(
            train_cache,
            decoder,
            settings,
            out,
            score=score,
            protocol={**protocol.model_dump(), "store": val_cache.digest} if val_cache and protocol else {},
            device=choose_device(device),
            progress=report,
            each_epoch=told,
        )
    scored = (
        f"validation AbsRel {info.metrics['abs_rel']:.4f} ({protocol.label})" if protocol else "no validation split"
    )
    click.echo(f"{out}: {info.weights} weights of epoch {info.epoch} ({info.chosen}), {scored}")


def open_validation(features: Path, training: "FeatureCache") -> "FeatureCache | None":
    """The validation split of a folder of features; None where the data set has none."""
    from ..cache import FeatureCache, Pointer

    if not Pointer.read(features / "val.json").store:
        return None
    return FeatureCache.open(features / "val.json", expect=training.features_identity)


def open_training(features: Path, expect: dict[str, Any] | None) -> "FeatureCache":
    """The training split of a folder of features."""
    from ..cache import FeatureCache, SpaceClipError

    if not (features / "train.json").is_file() and (features / "all.json").is_file():
        raise SpaceClipError(f"{features}: was extracted whole; extract again with --val and --test to hold scenes out")
    return FeatureCache.open(features / "train.json", expect=expect)
