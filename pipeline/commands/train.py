"""`spaceclip train`: from cached features to a decoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..features import extracted_by, local_copy_option
from ..paths import FEATURES, FILE, NEW
from .settings import set_option

if TYPE_CHECKING:
    from ...cache import Location


@click.command()
@click.option("--config", type=FILE, help="Experiment file; the other way is --features.")
@click.option(
    "--features",
    type=FEATURES,
    multiple=True,
    help="Folder or URL with train.json and val.json; several are trained on as one.",
)
@click.option("--out", type=NEW, help="Where the checkpoint goes. [default: results/<experiment>]")
@click.option("--epochs", type=int, help="Passes over the training features: train.epochs.")
@click.option("--batch-size", type=int, help="Images in a step: train.batch_size.")
@click.option("--max-depth", type=float, help="Farthest depth in metres that counts: train.max_depth.")
@click.option("--seed", type=int, help="Of weights, dropout and order: train.seed.")
@set_option
@click.option("--device", default="auto", show_default=True)
@click.option("--force", is_flag=True, help="Replace a finished checkpoint, of whatever settings.")
@local_copy_option
def train(
    config: Path | None,
    features: "tuple[Location, ...]",
    out: Path | None,
    epochs: int | None,
    batch_size: int | None,
    max_depth: float | None,
    seed: int | None,
    assignments: tuple[str, ...],
    **options: Any,
) -> None:
    """Train a decoder on cached features alone.

    Either an experiment:  spaceclip train --config configs/demo.yaml

    or any store:          spaceclip train --features features/mine --out results/mine

    or several as one:     spaceclip train --features features/part1 --features features/part2 --out results/both

    An option that is a setting wins over the experiment's file.

    An interrupted run goes on from its last whole epoch when the same command is given again, with the same result; a
    finished one stays as it is.
    """
    from ..config import FeatureExperiment, apply_options, chosen_options, load_experiment
    from ..training import train_decoder

    named = {"epochs": epochs, "batch_size": batch_size, "max_depth": max_depth, "seed": seed}
    chosen = chosen_options(assignments, {f"train.{name}": value for name, value in named.items()})
    expect = None
    if config is not None:
        experiment = load_experiment(config, chosen)
        expect = {"backbone": experiment.backbone.expected_identity()}
        out = out or Path("results") / config.stem
        folders = features or experiment.feature_folders(config.stem)
    elif not features or out is None:
        raise click.UsageError("give --config, or --features and --out")
    else:
        experiment, folders = apply_options(FeatureExperiment, {}, chosen), features
    with extracted_by(config, folders):
        train_decoder(folders, out, experiment.train, experiment.decoder, experiment.evaluate, expect=expect, **options)
