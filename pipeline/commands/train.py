"""`spaceclip train`: from cached features to a decoder."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..features import local_copy_option, open_training, open_validation
from ..paths import FEATURES, FILE, NEW

if TYPE_CHECKING:
    from ...cache import Location
    from ...evaluate import EvaluateSettings
    from ...train import DecoderSettings, TrainSettings


@click.command()
@click.option("--config", type=FILE, help="Experiment file; the other way is --features.")
@click.option("--features", type=FEATURES, help="Folder or URL with train.json and val.json.")
@click.option("--out", type=NEW, help="Where the checkpoint goes. [default: results/<experiment>]")
@click.option("--epochs", type=int, help="Without --config: passes over the training features.")
@click.option("--batch-size", type=int, help="Without --config: images in a step.")
@click.option("--max-depth", type=float, help="Without --config: farthest depth in metres that counts.")
@click.option("--device", default="auto", show_default=True)
@local_copy_option
def train(
    config: Path | None,
    features: "Location | None",
    out: Path | None,
    device: str,
    local_copy: Path | None,
    **options: Any,
) -> None:
    """Train a decoder on cached features alone.

    Either an experiment:  spaceclip train --config configs/demo.yaml

    or any store:          spaceclip train --features features/mine --out results/mine

    An interrupted run goes on from its last whole epoch when the same command is given again, with the same result.
    """
    from ...evaluate import EvaluateSettings
    from ...train import DecoderSettings, TrainSettings
    from ..config import check_settings, load_experiment

    given = {name: value for name, value in options.items() if value is not None}
    if config is not None:
        if given:
            raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} and --config: edit the experiment's file")
        experiment = load_experiment(config)
        features = features or Path("features") / config.stem
        out = out or Path("results") / config.stem
        expect = {"backbone": experiment.backbone.expected_identity()}
        run(features, out, experiment.decoder, experiment.train, experiment.evaluate, device, expect, local_copy)
    elif features is None or out is None:
        raise click.UsageError("give --config, or --features and --out")
    else:
        settings = check_settings(TrainSettings, given, "options")
        run(features, out, DecoderSettings(), settings, EvaluateSettings(), device, None, local_copy)


def run(
    features: "Location",
    out: Path,
    decoder: "DecoderSettings",
    settings: "TrainSettings",
    scoring: "EvaluateSettings",
    device: str,
    expect: dict[str, Any] | None,
    local_copy: Path | None = None,
) -> None:
    """Train on the `train` split of a folder of features and choose weights on its `val` split, if it has one."""
    from ...cache import require_disjoint
    from ...evaluate import validate
    from ...train import Epoch, fit
    from ..device import choose_device
    from ..progress import progress

    train_cache = open_training(features, expect, local_copy)
    decoder = decoder.for_features(train_cache.identity["tokens"]["channels"])
    val_cache = open_validation(features, train_cache, local_copy)
    if val_cache is not None:
        require_disjoint({"train": train_cache, "val": val_cache})
    for cache in filter(None, (train_cache, val_cache)):
        cache.require(decoder.layers, depth=True)
    protocol, score = None, None
    if val_cache is not None:
        scoring = scoring.model_copy(update={"flip_average": False})
        protocol = scoring.protocol("validation", val_cache.about, settings.min_depth, settings.max_depth)
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
            protocol={**protocol.model_dump(), "store": val_cache.digest, "images": len(val_cache.usable)}
            if val_cache and protocol
            else {},
            device=choose_device(device),
            progress=report,
            each_epoch=told,
        )
    scored = (
        f"validation AbsRel {info.metrics['abs_rel']:.4f} ({protocol.label})" if protocol else "no validation split"
    )
    click.echo(f"{out}: {info.weights} weights of epoch {info.epoch} ({info.chosen}), {scored}")
