"""`spaceclip export`: a checkpoint for other runtimes."""

from pathlib import Path
from typing import Any

import click

from ..paths import FILE, NEW


@click.command()
@click.argument("checkpoint")
@click.option("--out", type=NEW, required=True, help="The file: .onnx, or .pt2 for torch.export.load.")
@click.option("--revision", help="Commit of the checkpoint on the hub.")
@click.option("--backbone", help="Where the encoder is, if not where the checkpoint's record says.")
@click.option("--with-encoder", is_flag=True, help="From uint8 RGB images on. [default: from hidden states]")
@click.option("--int8", is_flag=True, help="With --with-encoder: linear layers in int8, for CPUs.")
@click.option("--config", type=FILE, help="With --int8: experiment whose validation images say what that changes.")
def export(checkpoint: str, out: Path, config: Path | None, **options: Any) -> None:
    """A checkpoint, by its folder or hub id, as a file that computes depth in metres without SpaceCLIP.

    spaceclip export results/demo --out decoder.onnx

    The file is checked against PyTorch before it is written, and holds what it is in its metadata.
    """
    from ..config import load_experiment
    from ..export import export_checkpoint

    experiment = load_experiment(config) if config else None
    export_checkpoint(checkpoint, out, experiment=experiment, say=click.echo, **options)
