"""`spaceclip data`: getting the data sets of the field."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..paths import FILE, FOLDER, NEW, require_writable

if TYPE_CHECKING:
    from ...extract.fetch import Plan
    from ...extract.sources.datasets import KittiData, NyuData

_DATASETS = click.Choice(["kitti", "nyu"])
_DATASET = click.argument("dataset", type=_DATASETS)
_ROOT = click.option("--root", type=NEW, required=True, help="Folder of the data set.")
_TRAIN_LIST = click.option("--train-list", type=FILE, help="Your own list of the training frames.")
_TEST_LIST = click.option("--test-list", type=FILE, help="Your own list of the test frames.")


@click.group()
def data() -> None:
    """Get KITTI or NYU Depth V2, check it, divide it."""


def _named(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {name: value for name, sign, value in (text.partition("=") for text in values) if sign and name and value}
    if len(pairs) < len(values):
        raise click.BadParameter(f"expected {option.metavar}, once for a name; found {' '.join(values)}")
    return pairs


@data.command()
@_DATASET
@_ROOT
@click.option("--only", multiple=True, metavar="PART", help="Only this part, and the lists it needs (repeatable).")
@_TRAIN_LIST
@_TEST_LIST
@click.option("--url", multiple=True, metavar="NAME=URL", callback=_named, help="Load a part or drive from elsewhere.")
@click.option("--sha256", multiple=True, metavar="NAME=HEX", callback=_named, help="What a part or drive must be.")
@click.option("--table", type=FILE, help="Addresses and sums (YAML), laid over ours.")
@click.option("--keep-archives", is_flag=True, help="Keep zips once their listed files are taken out.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def fetch(
    dataset: str,
    root: Path,
    only: tuple[str, ...],
    train_list: Path | None,
    test_list: Path | None,
    url: dict[str, str],
    sha256: dict[str, str],
    table: Path | None,
    keep_archives: bool,
    yes: bool,
) -> None:
    """Fetch a data set: its lists, and the frames that they name.

    Says first what there is to load, under which licence, and what has to be fetched by hand; then asks. An
    interrupted fetch goes on where it stopped when the same command is given again.

    PARTs of kitti: lists, images, depth. Of nyu: lists, labelled, splits, sync.
    """
    from ...cache import SpaceClipError
    from ...extract.fetch import BY_HAND, FETCH, Fetch, load_catalogue, plan_fetch, size_text
    from ..progress import progress

    entry = load_catalogue(dataset, table, url, sha256)
    given = {name: path for name, path in (("train_list", train_list), ("test_list", test_list)) if path is not None}
    names = entry.choose((*only, *given) if only else ())
    plan = plan_fetch(entry, root, names, given, keep_archives)
    require_writable(root)
    _show(plan)
    plan.check_space()
    if plan.in_state(FETCH) and not yes:
        if not _can_ask():
            raise SpaceClipError("nothing was loaded: there is no terminal to ask on; give --yes to load it")
        click.confirm(f"Load about {size_text(plan.load)} into {root}?", abort=True)
    Fetch(progress, click.echo, keep_archives).run(plan)
    left = plan_fetch(entry, root, names, given).in_state(BY_HAND) if plan.in_state(BY_HAND) else ()
    for step in left:
        click.echo(f"{step.name}: still to be fetched by hand")
    if not left:
        click.echo(f"{root}: all there")


@data.command()
@click.argument("dataset", type=_DATASETS, required=False)
@click.option("--root", type=FOLDER, help="Folder of the data set.")
@_TRAIN_LIST
@_TEST_LIST
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

    from ...cache import SpaceClipError
    from ...extract import counted
    from ...extract.sources.datasets import check_dataset
    from ..progress import progress

    if config is not None and not (dataset or root or train_list or test_list):
        settings = _of_experiment(config)
    elif config is None and dataset is not None and root is not None:
        settings = _settings(dataset, root, train_list, test_list)
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


@data.command()
@_DATASET
@_ROOT
@_TRAIN_LIST
@click.option("--out", type=NEW, required=True, help="Folder of the lists.")
def split(dataset: str, root: Path, train_list: Path | None, out: Path) -> None:
    """Divide the training list by scene, as for `controlled` weights: train.txt to train on, val.txt to choose by."""
    from ...extract.sources.datasets import write_split_lists

    require_writable(out)
    for path, lines, digest in write_split_lists(_settings(dataset, root, train_list), out).values():
        click.echo(f"{path}: {lines:,} frames, SHA-256 {digest}")


def _settings(
    dataset: str,
    root: Path,
    train_list: Path | None = None,
    test_list: Path | None = None,
) -> "KittiData | NyuData":
    from ...extract.sources.datasets import KittiData, NyuData
    from ..config import check_settings

    given = {"root": root, "train_list": train_list, "test_list": test_list}
    return check_settings(KittiData if dataset == "kitti" else NyuData, given, "options")


def _of_experiment(config: Path) -> "KittiData | NyuData":
    from ...cache import SpaceClipError
    from ...extract.sources.datasets import KittiData, NyuData
    from ..config import load_experiment

    settings = load_experiment(config).data
    if not isinstance(settings, KittiData | NyuData):
        raise SpaceClipError(f"{config}: data of kind {settings.kind} is checked by `extract`: expected kitti or nyu")
    return settings


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _show(plan: "Plan") -> None:
    from rich.console import Console
    from rich.table import Table

    from ...extract.fetch import BY_HAND, size_text

    console = Console()
    table = Table(title=f"{plan.dataset.title} in {plan.root}", title_justify="left")
    for heading in ("part", "what", "licence", "size", "state"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    for step in plan.steps:
        licence = step.part.licence or plan.dataset.licence
        size = ("about " if step.part.approximate else "") + size_text(step.part.size)
        table.add_row(step.name, step.part.what, licence, size, ", ".join(filter(None, (step.state, step.detail))))
    console.print(table)
    click.echo(f"licence: {plan.dataset.licence}; cite {plan.dataset.cite}")
    click.echo(
        f"to load: about {size_text(plan.load)}; space needed on the way: about {size_text(plan.space)}, "
        f"free: {size_text(plan.free)}"
    )
    for step in plan.in_state(BY_HAND):
        by_hand = step.part.by_hand
        place = plan.root / step.part.to
        click.echo(
            f"{step.name}, by hand: {by_hand.do}, {by_hand.page}" if by_hand else f"{step.name}, by hand: find it"
        )
        click.echo(f"    put it at {place} and run the same command again, or give an address: --url {step.name}=URL")
