"""`spaceclip show`: the results of an evaluation or a study."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..paths import FOLDER

if TYPE_CHECKING:
    from ...evaluate import Results
    from ..study import StudyResults


@click.command()
@click.argument("folder", type=FOLDER)
def show(folder: Path) -> None:
    """Print the results that an evaluation, a study or probes left in FOLDER."""
    from ...evaluate import read_results
    from ..probe import PROBE, TABLE
    from ..study import STUDY, read_study

    if (folder / STUDY).exists():
        print_study(read_study(folder))
        return
    if (folder / PROBE).exists():
        click.echo((folder / TABLE).read_text(encoding="utf-8"), nl=False)
        return
    print_tables(read_results(folder))
    print_files(folder)


def print_tables(results: "Results") -> None:
    """Print the tables of a result."""
    from rich.console import Console

    from ...evaluate import results_tables

    console = Console(width=None if Console().is_terminal else 100)
    for table in results_tables(results):
        console.print(table)


def print_study(results: "StudyResults") -> None:
    """Print the tables of a study."""
    from rich.console import Console

    from ..study import WIDTH, study_tables

    console = Console(width=None if Console().is_terminal else WIDTH)
    for part in study_tables(results):
        console.print(part)


def print_files(folder: Path) -> None:
    """Where figures and numbers lie."""
    from ...evaluate import ERRORS, FIGURE, PER_IMAGE, REPORT, RESULTS

    files = {"report": REPORT, "predictions": FIGURE, "errors": ERRORS, "per image": PER_IMAGE, "numbers": RESULTS}
    for name, file in files.items():
        if (folder / file).is_file():
            click.echo(f"{name}: {folder / file}")
