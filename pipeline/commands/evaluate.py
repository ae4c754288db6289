"""`spaceclip evaluate`: from a checkpoint, or saved maps, to numbers and figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..features import extracted_by, local_copy_option
from ..paths import FEATURES, FILE, FOLDER, NEW, PRESENT
from .settings import set_option
from .show import print_files, print_tables

if TYPE_CHECKING:
    from ...cache import Location

_PROTOCOLS = ("controlled", "standard", "paper", "validation")


@click.command()
@click.option("--config", type=FILE, help="Experiment file.")
@click.option("--checkpoint", type=PRESENT, help="Checkpoint. [default: results/<experiment>]")
@click.option(
    "--features",
    type=FEATURES,
    help="A store to score on, or the folder of all splits. [default: features/<experiment>]",
)
@click.option(
    "--baseline",
    "baselines",
    type=FEATURES,
    multiple=True,
    help="Store it was trained on, or the folder of all splits; each of several. [default: the train split's]",
)
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(_PROTOCOLS),
    multiple=True,
    help="Instead of the experiment's; may be given several times.",
)
@click.option(
    "--median-scaling", is_flag=True, default=None, help="Score a second time, scaled by the ratio of medians."
)
@click.option("--predictions", type=FOLDER, help="Score these saved maps of any model, not a checkpoint.")
@click.option("--name", help="With --predictions: the model's name. [default: the folder's]")
@click.option(
    "--depth-scale",
    type=click.FloatRange(min=0, min_open=True),
    help="With --predictions: stored values of one metre. Integers need it; floats are metres without it.",
)
@click.option(
    "--max-depth",
    type=click.FloatRange(min=0, min_open=True),
    help="With --predictions: of protocols without a range of their own, metres. [default: the experiment's, else 80]",
)
@click.option(
    "--save-maps",
    type=NEW,
    help="Also write the maps that are scored, DIR/averaged/<id>.npy and DIR/plain/<id>.npy, for --predictions.",
)
@click.option("--out", type=NEW, help="Where results go. [default: beside the checkpoint]")
@click.option("--force", is_flag=True, help="Replace the finished result of another evaluation.")
@click.option("--device", help="Where to compute. [default: auto]")
@set_option
@local_copy_option
def evaluate(
    config: Path | None,
    checkpoint: Path | None,
    features: "Location | None",
    predictions: Path | None,
    out: Path | None,
    protocols: tuple[str, ...],
    median_scaling: bool | None,
    assignments: tuple[str, ...],
    **options: Any,
) -> None:
    """Score a checkpoint by named protocols, beside the best predictions without an image.

    An experiment:   spaceclip evaluate --config configs/nyu.yaml [--protocol standard]

    or any store:    spaceclip evaluate --checkpoint results/mine --features features/mine

    or saved maps:   spaceclip evaluate --predictions DIR --config configs/nyu.yaml --out results/other

    Saved maps are named by the samples' ids: DIR/<id>.npy (metres), .depth16.png (of predict --save png16, which says
    its scale), or .png and .tiff with --depth-scale. They are
    scored against a store (--features), or straight against the files of an experiment's data set (--config).
    """
    from ...evaluate import write_figures
    from ..config import FeatureExperiment, apply_options, chosen_options, load_experiment
    from ..evaluation import score_checkpoints, score_saved

    named = {"evaluate.protocols": protocols or None, "evaluate.median_scaling": median_scaling}
    chosen = chosen_options(assignments, named)
    experiment = load_experiment(config, chosen) if config else None
    settings = (experiment or apply_options(FeatureExperiment, {}, chosen)).evaluate
    if predictions:
        of_checkpoints = _chosen(options, "device", "save_maps")
        _refuse(
            {"checkpoint": checkpoint, "baseline": options["baselines"] or None, **of_checkpoints},
            "goes with a checkpoint, not with --predictions",
        )
        if out is None:
            raise click.UsageError("--predictions needs --out, the folder of its results")
        given = _chosen(options, "name", "depth_scale", "max_depth", "local_copy", "force")
        found = score_saved(predictions, experiment, features, settings, out, **given)
    else:
        _refuse(_chosen(options, "name", "depth_scale", "max_depth"), "goes with --predictions")
        if config:
            checkpoint = checkpoint or Path("results") / config.stem
            features = features or Path("features") / config.stem
        if config and experiment and experiment.also_train_on:
            options["baselines"] = options["baselines"] or experiment.feature_folders(config.stem)
        if checkpoint is None or features is None:
            raise click.UsageError("give --config, or --checkpoint and --features, or --predictions")
        out = out or (checkpoint if checkpoint.is_dir() else checkpoint.parent)
        given = _chosen(options, "baselines", "device", "local_copy", "save_maps", "force")
        with extracted_by(config, options["baselines"] or [features]):
            (found,) = score_checkpoints({out: checkpoint}, features, settings, **given)
    print_tables(found.results)
    write_figures(out, found)
    print_files(out)


def _chosen(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names}


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")
