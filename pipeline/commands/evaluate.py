"""`spaceclip evaluate` and `spaceclip show`: from a checkpoint, or saved maps, to numbers and figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..features import LOCATION, local_copy_option, open_scored, split_pointers

if TYPE_CHECKING:
    from ...cache import FeatureCache, Location
    from ...evaluate import EvaluateSettings

_PROTOCOLS = ("controlled", "standard", "paper")


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Experiment file.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Checkpoint. [default: results/<experiment>]")
@click.option(
    "--features",
    type=LOCATION,
    help="A store to score on, or the folder of all splits. [default: features/<experiment>]",
)
@click.option("--baseline", type=LOCATION, help="Store it was trained on. [default: the train split's]")
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(_PROTOCOLS),
    multiple=True,
    help="Instead of the experiment's; may be given several times.",
)
@click.option("--median-scaling", is_flag=True, help="Score a second time, scaled by the ratio of medians.")
@click.option(
    "--predictions", type=click.Path(path_type=Path), help="Score these saved maps of any model, not a checkpoint."
)
@click.option("--name", help="With --predictions: the model's name. [default: the folder's]")
@click.option(
    "--depth-scale",
    type=click.FloatRange(min=0, min_open=True),
    help="With --predictions: stored values of one metre. Integers need it; floats are metres without it.",
)
@click.option(
    "--max-depth",
    type=click.FloatRange(min=0, min_open=True),
    help="With --predictions: of the controlled protocol, metres. [default: the experiment's, else 80, NYU 10]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where results go. [default: beside the checkpoint]")
@click.option("--device", help="Where to compute. [default: auto]")
@local_copy_option
def evaluate(
    config: Path | None, features: "Location | None", out: Path | None, local_copy: Path | None, **options: Any
) -> None:
    """Score a checkpoint by named protocols, beside the mean depth map of its training set.

    An experiment:   spaceclip evaluate --config configs/nyu.yaml [--protocol standard]

    or any store:    spaceclip evaluate --checkpoint results/mine --features features/mine

    or saved maps:   spaceclip evaluate --predictions DIR --config configs/nyu.yaml --out results/other

    Saved maps are named by the samples' ids: DIR/<id>.npy (metres), or .png and .tiff with --depth-scale. They are
    scored against a store (--features), or straight against the files of an experiment's data set (--config).
    """
    from ...evaluate import EvaluateSettings
    from ..config import check_settings, load_experiment

    experiment = load_experiment(config) if config else None
    settings = experiment.evaluate if experiment else EvaluateSettings()
    given = {"protocols": options["protocols"] or None, "median_scaling": options["median_scaling"] or None}
    changed = {name: value for name, value in given.items() if value is not None}
    settings = check_settings(EvaluateSettings, {**settings.model_dump(), **changed}, "options")
    if options["predictions"]:
        from ..predictions import run_saved

        _refuse(options, ("checkpoint", "baseline", "device"), "goes with a checkpoint, not with --predictions")
        if "controlled" not in settings.protocols:
            _refuse(options, ("max_depth",), "is of the controlled protocol; the others have their own")
        if out is None:
            raise click.UsageError("--predictions needs --out, the folder of its results")
        splits = open_scored(features, local_copy) if features else None
        run_saved(options["predictions"], experiment, splits, settings, out, options)
    else:
        _refuse(options, ("name", "depth_scale", "max_depth"), "goes with --predictions")
        out = _run_checkpoint(config, features, settings, out, options, local_copy)
    print_results(out)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def show(folder: Path) -> None:
    """Print the results that an evaluation left in FOLDER."""
    print_results(folder)


def run(
    checkpoint: Path,
    splits: dict[str, "FeatureCache"],
    baseline: "Location",
    settings: "EvaluateSettings",
    out: Path,
    device: str,
    local_copy: Path | None = None,
) -> None:
    """Score a checkpoint and the mean depth map on the splits given, and write numbers and figures into a folder."""
    from ...cache import FeatureCache, SpaceClipError, require_disjoint, require_same
    from ...evaluate import evaluate_checkpoint
    from ...train import load_checkpoint
    from ..device import choose_device
    from ..progress import progress

    loaded = load_checkpoint(checkpoint, choose_device(device))
    wanted = {"backbone": loaded.info.backbone, "preprocessing": loaded.info.preprocessing}
    for cache in splits.values():
        require_same(cache.identity, wanted, str(cache.path))
        cache.require(loaded.info.decoder.layers, depth=True)
    training = FeatureCache.open(baseline, local_copy=local_copy)
    if training.digest != loaded.info.store["ledger"]:
        raise SpaceClipError(
            f"{baseline}: not the features that {loaded.path} was trained on, so what it has seen is unknown; "
            "train again on these, or give the store it was trained on as --baseline"
        )
    require_disjoint({"train": training, **splits})
    with progress("evaluate", "images") as report:
        evaluate_checkpoint(loaded, splits, training, settings, out, report)


def print_results(folder: Path) -> None:
    """The tables of a result, and where its figures and numbers lie."""
    from rich.console import Console

    from ...evaluate import ERRORS, FIGURE, PER_IMAGE, REPORT, RESULTS, read_results, results_tables

    console = Console(width=None if Console().is_terminal else 100)
    for table in results_tables(read_results(folder)):
        console.print(table)
    files = {"report": REPORT, "predictions": FIGURE, "errors": ERRORS, "per image": PER_IMAGE, "numbers": RESULTS}
    for name, file in files.items():
        if (folder / file).is_file():
            click.echo(f"{name}: {folder / file}")


def _run_checkpoint(
    config: Path | None,
    features: "Location | None",
    settings: "EvaluateSettings",
    out: Path | None,
    options: dict[str, Any],
    local_copy: Path | None,
) -> Path:
    checkpoint = options["checkpoint"]
    if config:
        checkpoint = checkpoint or Path("results") / config.stem
        features = features or Path("features") / config.stem
    if checkpoint is None or features is None:
        raise click.UsageError("give --config, or --checkpoint and --features, or --predictions")
    splits = open_scored(features, local_copy)
    folder = features if "train" in split_pointers(features) else features.parent
    found = out or (checkpoint if checkpoint.is_dir() else checkpoint.parent)
    baseline = options["baseline"] or folder / "train.json"
    run(checkpoint, splits, baseline, settings, found, options["device"] or "auto", local_copy)
    return found


def _refuse(options: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")
