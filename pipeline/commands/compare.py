"""`spaceclip compare`: our results beside the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ...evaluate import Results
    from ...evaluate.comparison import Constraint, Section

FILE = "comparison"


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Choice(["kitti", "nyu"]), help="This data set alone. [default: all]")
@click.option("--out", type=click.Path(path_type=Path), help=f"Folder for {FILE}.md, {FILE}.tex and {FILE}.csv.")
@click.option(
    "--constraint",
    "labels",
    multiple=True,
    metavar="NAME=LABEL",
    help="Label of saved maps in the table: N/A, TC-FB, TC-BU or TFI-FB. [default: N/A]",
)
def compare(results: tuple[Path, ...], data: str | None, out: Path | None, labels: tuple[str, ...]) -> None:
    """Print RESULTS (folders that `spaceclip evaluate` wrote, or their results.json) beside the published numbers.

    Each row names its protocol, and rows that cannot be compared say why:

        spaceclip compare results/nyu results/no-film --out tables
    """
    from ...cache import SpaceClipError
    from ...evaluate.comparison import comparison

    named = _named(results)
    sections = comparison(named, data, _constraints(labels, named))
    if not sections:
        kinds = ", ".join(sorted({found.data for _, found in named}))
        raise SpaceClipError(f"--data {data}: the results are of {kinds}; leave --data out, or give results of {data}")
    _print(sections)
    if out:
        _write(out, sections)


def _named(paths: tuple[Path, ...]) -> "list[tuple[str, Results]]":
    """Each result once, under its folder's name, or under its path where two folders are called the same."""
    from ...evaluate import RESULTS, read_results

    places: dict[Path, Path] = {}
    for path in paths:
        given = path.parent if path.name == RESULTS else path
        places.setdefault(given.resolve(), given)
    names = [place.name for place in places]
    return [
        (str(given) if names.count(place.name) > 1 else place.name, read_results(given))
        for place, given in places.items()
    ]


def _constraints(labels: tuple[str, ...], named: "list[tuple[str, Results]]") -> "dict[str, Constraint]":
    from ...cache import SpaceClipError
    from ...evaluate.comparison import CONSTRAINTS

    saved = [name for name, results in named if results.model.kind == "saved maps"]
    known: dict[str, Constraint] = {constraint: constraint for constraint in CONSTRAINTS}
    found: dict[str, Constraint] = {}
    for text in labels:
        name, _, label = text.rpartition("=")
        if name not in saved or label not in known:
            raise SpaceClipError(
                f"--constraint {text}: expected NAME=LABEL with the name of saved maps ({', '.join(saved) or 'none'}) "
                f"and one of {', '.join(known)}"
            )
        found[name] = known[label]
    return found


def _print(sections: "list[Section]") -> None:
    from rich.console import Console

    from ...evaluate.comparison import terminal

    console = Console(width=None if Console().is_terminal else 120)
    for section in sections:
        for part in terminal(section, console.width):
            console.print(part)


def _write(out: Path, sections: "list[Section]") -> None:
    from ...cache import write_atomically
    from ...evaluate.comparison import comma_separated, latex, markdown

    for suffix, text in (("md", markdown(sections)), ("tex", latex(sections)), ("csv", comma_separated(sections))):
        path = out / f"{FILE}.{suffix}"
        write_atomically(path, text.encode())
        click.echo(f"wrote {path}")
