"""`spaceclip data check`: whether a data set is all there and what it should be."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...paths import FILE, FOLDER
from .options import DATASETS, TEST_LIST, TRAIN_LIST, dataset_settings

if TYPE_CHECKING:
    from ....extract.sources.datasets import KittiData, NyuData


@click.command()
@click.argument("dataset", type=DATASETS, required=False)
@click.option("--root", type=FOLDER, help="Folder of the data set.")
@TRAIN_LIST
@TEST_LIST
@click.option("--config", type=FILE, help="An experiment: check what it will read.")
@click.option("--full", is_flag=True, help="Decode every sample, not 64 of each list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    dataset: str | None,
    root: Path | None,
    train_list: Path | None,
    test_list: Path | None,
    config: Path | None,
    full: bool,
    as_json: bool,
) -> None:
    """Look whether a data set is all there and what it should be; exit status 1 if not.

    Give DATASET and --root, or an experiment by --config alone.
    """
    import json

    from rich.console import Console

    from ....cache import SpaceClipError
    from ....extract import counted
    from ....extract.sources.datasets import check_dataset
    from ...progress import progress

    if config is not None and not (dataset or root or train_list or test_list):
        settings = _of_experiment(config)
    elif config is None and dataset is not None and root is not None:
        settings = dataset_settings(dataset, root, train_list, test_list)
    else:
        raise click.UsageError("give DATASET and --root, or --config alone")
    with progress(f"check {settings.kind}", "files") as report:
        found = check_dataset(settings, report, full=full)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        Console().print(found.table())
        for line in (*found.problems, *found.notes):
            click.echo(f"- {line}")
    if found.problems:
        raise SpaceClipError(
            f"{settings.root}: {counted(len(found.problems), 'problem')}, named above: mend before extracting"
        )
    if not as_json:
        decoded, maps = found.probed
        more = "" if decoded == maps else "; --full decodes all"
        click.echo(f"all fit; decoded {decoded:,} of {maps:,} depth maps and their images{more}")


def _of_experiment(config: Path) -> "KittiData | NyuData":
    from ....cache import SpaceClipError
    from ....extract.sources.datasets import KittiData, NyuData
    from ...config import load_experiment

    settings = load_experiment(config).data
    if not isinstance(settings, KittiData | NyuData):
        raise SpaceClipError(f"{config}: data of kind {settings.kind} is checked by `extract`: expected kitti or nyu")
    return settings
