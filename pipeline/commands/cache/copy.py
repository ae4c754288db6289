"""`spaceclip cache copy`: taking a store to another place."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import click

from ...paths import FEATURES, LOCATION, require_writable

if TYPE_CHECKING:
    from ....cache import Location


@click.command()
@click.argument("path", type=FEATURES)
@click.argument("out", type=LOCATION)
@click.option(
    "--precision",
    type=click.Choice(["float16", "int8"]),
    help="How the copy keeps hidden states; int8 takes half the bytes. [default: as the original]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def copy(path: "Location", out: "Location", precision: Literal["float16", "int8"] | None, *, as_json: bool) -> None:
    """Copy a store and its pointer into the folder OUT, verified; the same command goes on after an interruption.

    PATH is the store, its pointer, or a folder with one pointer. Both may be URLs.
    """
    from ....cache import copy as copy_store
    from ....cache import size_text
    from ...progress import progress
    from .reading import all_shards

    require_writable(out)
    with progress("copy", "MB") as report:
        done = copy_store(path, out, lambda done, total: report(done // 10**6, total // 10**6), precision=precision)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1, default=str))
        return
    click.echo(
        f"{done.pointer or done.store}: {all_shards(done.shards)} in {done.store} "
        f"({done.copied} copied and verified now, {size_text(done.bytes)})"
    )
    if done.looks.times:
        click.echo(f"{done.store}: {done.looks}, those at the original too")
    if done.pointer is None:
        click.echo(f"{done.store}: no pointer was written, the original lacks shards", err=True)
