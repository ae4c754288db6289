"""`spaceclip cost`: what depth costs beside the encoder."""

import json
from pathlib import Path
from typing import Any

import click

from ..paths import FILE


@click.command()
@click.argument("checkpoint", required=False)
@click.option("--config", type=FILE, help="In place of a checkpoint: experiment of these sizes, with random weights.")
@click.option("--revision", help="Commit of the checkpoint on the hub.")
@click.option("--backbone", help="Where the encoder is, if not where the checkpoint's record says.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True, help="Of the decoder: auto, float32, bfloat16.")
@click.option(
    "--encoder-precision", default="auto", show_default=True, help="Of the encoder: auto, float32, bfloat16, float16."
)
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 4), show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=30, show_default=True, help="Passes of each variant.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
def cost(
    checkpoint: str | None,
    config: Path | None,
    batches: tuple[int, ...],
    repeats: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Parameters, arithmetic, latency and memory: an encoder alone, with the decoder on its states, and both beside it.

    spaceclip cost results/demo

    Backbone alone is what a host runs anyway; shared, the decoder reads the states of that pass; separate, the host's
    encoder and a second one of ours run, each with its own weights.
    """
    if (checkpoint is None) == (config is None):
        raise click.UsageError("give either a checkpoint or --config, an experiment whose sizes are measured")
    from ..config import load_experiment
    from ..cost import Source, measure_cost
    from ..progress import progress

    given = load_experiment(config) if config else checkpoint
    assert given is not None
    with progress("cost", "rounds") as report:
        found = measure_cost(
            Source(given, **options), batches, repeats, report, lambda line: click.echo(line, err=True)
        )
    click.echo(json.dumps(found.json(), indent=1) if as_json else found.markdown())
