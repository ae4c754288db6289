"""`spaceclip compare`: our results beside the published ones."""

from pathlib import Path

import click

from ..paths import NEW, PRESENT


@click.command()
@click.argument("results", nargs=-1, required=True, type=PRESENT)
@click.option("--data", type=click.Choice(["kitti", "nyu"]), help="This data set alone. [default: all]")
@click.option("--out", type=NEW, help="Folder for comparison.md, comparison.tex and comparison.csv.")
@click.option(
    "--constraint",
    "labels",
    multiple=True,
    metavar="NAME=LABEL",
    help="Label of saved maps in the table: N/A, TC-FB, TC-BU or TFI-FB. [default: N/A]",
)
def compare(results: tuple[Path, ...], data: str | None, out: Path | None, labels: tuple[str, ...]) -> None:
    """Print RESULTS (folders that `spaceclip evaluate` or `spaceclip study` wrote) beside the published numbers.

    Each row names its protocol, and rows that cannot be compared say why; an arm of a study is a row, over its seeds:

        spaceclip compare results/nyu results/no-film --out tables
    """
    from rich.console import Console

    from ...evaluate.comparison import terminal, write_comparison
    from ..comparison import compare_folders
    from ..paths import require_writable

    if out:
        require_writable(out)
    sections = compare_folders(results, data, labels)
    console = Console(width=None if Console().is_terminal else 120)
    for section in sections:
        for part in terminal(section, console.width):
            console.print(part)
    for path in write_comparison(out, sections) if out else ():
        click.echo(f"wrote {path}")
