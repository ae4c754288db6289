"""`spaceclip train`: from cached features to a decoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..features import local_copy_option
from ..paths import FEATURES, FILE, NEW

if TYPE_CHECKING:
    from ...cache import Location


@click.command()
@click.option("--config", type=FILE, help="Experiment file; the other way is --features.")
@click.option("--features", type=FEATURES, help="Folder or URL with train.json and val.json.")
@click.option("--out", type=NEW, help="Where the checkpoint goes. [default: results/<experiment>]")
@click.option("--epochs", type=int, help="Without --config: passes over the training features.")
@click.option("--batch-size", type=int, help="Without --config: images in a step.")
@click.option("--max-depth", type=float, help="Without --config: farthest depth in metres that counts.")
@click.option("--device", default="auto", show_default=True)
@click.option("--force", is_flag=True, help="Replace a finished checkpoint, of whatever settings.")
@local_copy_option
def train(
    config: Path | None,
    features: "Location | None",
    out: Path | None,
    epochs: int | None,
    batch_size: int | None,
    max_depth: float | None,
    **options: Any,
) -> None:
    """Train a decoder on cached features alone.

    Either an experiment:  spaceclip train --config configs/demo.yaml

    or any store:          spaceclip train --features features/mine --out results/mine

    An interrupted run goes on from its last whole epoch when the same command is given again, with the same result; a
    finished one stays as it is.
    """
    from ...evaluate import EvaluateSettings
    from ...train import DecoderSettings, TrainSettings
    from ..config import check_settings, load_experiment
    from ..training import train_decoder

    recipe = {"epochs": epochs, "batch_size": batch_size, "max_depth": max_depth}
    given = {name: value for name, value in recipe.items() if value is not None}
    if config is not None:
        if given:
            raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} and --config: edit the experiment's file")
        experiment = load_experiment(config)
        train_decoder(
            features or Path("features") / config.stem,
            out or Path("results") / config.stem,
            experiment.train,
            experiment.decoder,
            experiment.evaluate,
            expect={"backbone": experiment.backbone.expected_identity()},
            **options,
        )
    elif features is None or out is None:
        raise click.UsageError("give --config, or --features and --out")
    else:
        settings = check_settings(TrainSettings, given, "options")
        train_decoder(features, out, settings, DecoderSettings(), EvaluateSettings(), **options)
