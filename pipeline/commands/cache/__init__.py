"""`spaceclip cache`: looking into feature stores, and their upkeep."""

import click

from .copy import copy
from .gc import gc
from .info import info
from .repair import repair
from .verify import verify


@click.group()
def cache() -> None:
    """Look into a feature store, check it, mend it, copy it, or clear away what nothing uses."""


for command in (info, verify, repair, copy, gc):
    cache.add_command(command)
