"""`spaceclip evaluate` and `spaceclip show`: from a checkpoint and cached features to numbers and figures."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..evaluate import EvaluateSettings


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Experiment file.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Checkpoint. [default: results/<experiment>]")
@click.option("--features", type=click.Path(path_type=Path), help="Store to score on. [default: the test split's]")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Store it was trained on. [default: the train split's]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where results go. [default: beside the checkpoint]")
@click.option("--device", default="auto", show_default=True)
def evaluate(
    config: Path | None,
    checkpoint: Path | None,
    features: Path | None,
    baseline: Path | None,
    out: Path | None,
    device: str,
) -> None:
    """Score a checkpoint on scenes it never saw, beside the mean depth map of its training set.

    Either an experiment:  spaceclip evaluate --config configs/demo.yaml

    or any store:          spaceclip evaluate --checkpoint results/mine --features features/mine
    """
    from ..evaluate import EvaluateSettings
    from .config import load_experiment

    settings = load_experiment(config).evaluate if config else EvaluateSettings()
    if config:
        checkpoint = checkpoint or Path("results") / config.stem
        features = features or Path("features") / config.stem
    if checkpoint is None or features is None:
        raise click.UsageError("give --config, or --checkpoint and --features")
    if features.is_dir() and (features / "test.json").is_file():
        baseline = baseline or features / "train.json"
        features = features / "test.json"
    out = out or (checkpoint if checkpoint.is_dir() else checkpoint.parent)
    run(checkpoint, features, baseline or features.parent / "train.json", settings, out, device)
    print_results(out)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def show(folder: Path) -> None:
    """Print the results that an evaluation left in FOLDER."""
    print_results(folder)


def run(checkpoint: Path, features: Path, baseline: Path, settings: "EvaluateSettings", out: Path, device: str) -> None:
    """Score a checkpoint and the mean depth map on one store, and write numbers and figures into a folder."""
    from ..cache import FeatureCache, SpaceClipError
    from ..evaluate import evaluate_checkpoint
    from ..train import load_checkpoint
    from .device import choose_device
    from .progress import progress

    loaded = load_checkpoint(checkpoint, choose_device(device))
    wanted = {"backbone": loaded.info.backbone, "preprocessing": loaded.info.preprocessing}
    cache, training = FeatureCache.open(features, expect=wanted), FeatureCache.open(baseline)
    if training.digest != loaded.info.store["ledger"]:
        raise SpaceClipError(
            f"{baseline}: not the features that {loaded.path} was trained on, so what it has seen is unknown; "
            "train again on these, or give the store it was trained on as --baseline"
        )
    cache.require(loaded.info.decoder.layers, depth=True)
    with progress("evaluate", "images") as report:
        evaluate_checkpoint(loaded, cache, training, settings, out, report)


def print_results(folder: Path) -> None:
    """The table of a result, and where its figures and numbers lie."""
    from rich.console import Console

    from ..evaluate import ERRORS, FIGURE, RESULTS, read_results, results_table

    Console(width=None if Console().is_terminal else 100).print(results_table(read_results(folder)))
    for name, file in (("predictions", FIGURE), ("errors", ERRORS), ("numbers", RESULTS)):
        if (folder / file).is_file():
            click.echo(f"{name}: {folder / file}")
