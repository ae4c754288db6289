"""`spaceclip data split`: the lists of the controlled split."""

from pathlib import Path

import click

from ...paths import NEW, require_writable
from .options import DATASET, ROOT, TRAIN_LIST, dataset_settings


@click.command()
@DATASET
@ROOT
@TRAIN_LIST
@click.option("--out", type=NEW, required=True, help="Folder of the lists.")
def split(dataset: str, root: Path, train_list: Path | None, out: Path) -> None:
    """Divide the training list by scene, as for `controlled` weights: train.txt to train on, val.txt to choose by."""
    from ....extract.sources.datasets import write_split_lists

    require_writable(out)
    for path, lines, digest in write_split_lists(dataset_settings(dataset, root, train_list), out).values():
        click.echo(f"{path}: {lines:,} frames, SHA-256 {digest}")
