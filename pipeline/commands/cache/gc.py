"""`spaceclip cache gc`: clearing away stores that nothing uses."""

import json
import sys
from typing import TYPE_CHECKING

import click

from ...paths import LOCATION

if TYPE_CHECKING:
    from ....cache import Garbage, Location


@click.command()
@click.argument("folder", type=LOCATION)
@click.option(
    "--pointers", type=LOCATION, multiple=True, help="Folder of pointers that lie elsewhere than below FOLDER."
)
@click.option("--unfinished", is_flag=True, help="Also remove stores whose extraction was begun and not finished.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; without --yes it only lists.")
def gc(folder: "Location", pointers: "tuple[Location, ...]", *, unfinished: bool, yes: bool, as_json: bool) -> None:
    """Remove the stores below FOLDER that no pointer means, and what killed runs left half made. Asks first.

    FOLDER is a path or a URL.
    """
    from ....cache import SpaceClipError, find_garbage, size_text

    found = find_garbage(folder, pointers)
    going = [one for one in found if unfinished or one.kind != "unfinished"]
    total = size_text(sum(one.bytes for one in going))
    if not as_json:
        for one in found:
            click.echo(f"{one.path}: {_described(one)}{'' if one in going else '; kept, unless --unfinished is given'}")
        if not going:
            kept = "every other store" if found else "every store"
            click.echo(f"{folder}: nothing to remove, {kept} is one that a pointer means or may mean")
            return
        if not yes and not sys.stdin.isatty():
            raise SpaceClipError(
                f"{folder}: {len(going)} would be removed, {total}; no terminal to ask at, so give --yes"
            )
    go = yes or (not as_json and click.confirm(f"{len(going)} found, {total}. Remove these?"))
    removed = _remove(going, folder, pointers) if go else []
    if as_json:
        listed = [{**vars(one), "removed": one in removed} for one in found]
        click.echo(json.dumps({"folder": folder, "found": listed}, indent=1, default=str))
    elif go:
        click.echo(f"{folder}: removed {len(removed)} of {len(going)}")


def _described(one: "Garbage") -> str:
    from ....cache import size_text

    size = size_text(one.bytes)
    if one.kind == "partial":
        return f"left half made by a process that is dead, {size}"
    if one.kind == "unreferenced":
        return f"no pointer means it, {size}"
    if not one.total:
        return f"no pointer means it, {size}; its description is damaged"
    return f"no pointer means it, {size}; not finished, {one.shards} of {one.total} shards"


def _remove(found: "list[Garbage]", folder: "Location", pointers: "tuple[Location, ...]") -> "list[Garbage]":
    from ....cache import StoreError, remove
    from ...progress import progress

    removed = []
    with progress("remove", "folders") as report:
        for number, one in enumerate(found):
            report(number, len(found))
            try:
                if remove(one, folder, pointers):
                    removed.append(one)
                else:
                    click.echo(f"{one.path}: kept, it was taken up in the meantime", err=True)
            except StoreError as error:
                click.echo(f"kept: {error}", err=True)
    return removed
