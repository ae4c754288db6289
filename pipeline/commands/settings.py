"""`spaceclip settings`: an experiment's file, checked and with every default in it."""

import json
from pathlib import Path

import click

from ..paths import FILE, NEW

set_option = click.option(
    "--set",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="Another value for a setting of an experiment's file, such as train.learning_rate=3e-4; repeatable.",
)


@click.command()
@click.argument("config", type=FILE)
@click.option("--out", type=NEW, help="Folder for extract.json, train.json and evaluate.json.")
def settings(config: Path, out: Path | None) -> None:
    """Check an experiment's file and print what each stage reads of it, defaults filled in.

    DVC compares the files in --out, so that a section may be left out, and a stage runs again only if its own changed.
    """
    from ...cache import write_atomically
    from ..config import read_experiment

    by_stage = read_experiment(config).by_stage()
    if out is None:
        click.echo(json.dumps(by_stage, indent=1))
        return
    for stage, content in by_stage.items():
        write_atomically(out / f"{stage}.json", json.dumps(content, indent=1).encode() + b"\n")
