"""`spaceclip data fetch`: from an empty disk to a data set."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...paths import FILE, require_writable
from .options import DATASET, ROOT, TEST_LIST, TRAIN_LIST

if TYPE_CHECKING:
    from ....extract.fetch import Plan


def _named(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {name: value for name, sign, value in (text.partition("=") for text in values) if sign and name and value}
    if len(pairs) < len(values):
        raise click.BadParameter(f"expected {option.metavar}, once for a name; found {' '.join(values)}")
    return pairs


@click.command()
@DATASET
@ROOT
@click.option("--only", multiple=True, metavar="PART", help="Only this part, and the lists it needs (repeatable).")
@TRAIN_LIST
@TEST_LIST
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
    from ....cache import SpaceClipError, size_text
    from ....extract.fetch import BY_HAND, FETCH, Fetch, load_catalogue, plan_fetch
    from ...progress import progress

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


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _show(plan: "Plan") -> None:
    from rich.console import Console
    from rich.table import Table

    from ....cache import size_text
    from ....extract.fetch import BY_HAND

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
