"""`spaceclip data`: getting the data sets of the field."""

import click

from .check import check
from .fetch import fetch
from .split import split


@click.group()
def data() -> None:
    """Get KITTI or NYU Depth V2, check it, divide it."""


for command in (fetch, check, split):
    data.add_command(command)
