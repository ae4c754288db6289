"""`spaceclip app`: a page in the browser that predicts photographs."""

from typing import Any

import click


@click.command()
@click.argument("checkpoint")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True)
@click.option("--revision", help="Commit of the checkpoint on the hub.")
@click.option("--backbone", help="Where the encoder is, if not where the checkpoint's record says.")
@click.option("--device", default="auto", show_default=True)
def app(checkpoint: str, port: int, **options: Any) -> None:
    """A page for this machine's browser: depth of a photograph, metres at a pixel, points.

    spaceclip app results/demo
    """
    from ..app import show_page
    from ..prediction import SpaceClip

    show_page(SpaceClip.from_pretrained(checkpoint, **options), port, click.echo)
