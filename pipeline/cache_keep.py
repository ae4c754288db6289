"""`spaceclip cache gc` and `copy`: clearing away stores that nothing uses, and taking one to another place."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..cache import Garbage


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; without --yes it only lists.")
def gc(folder: Path, *, yes: bool, as_json: bool) -> None:
    """Remove the stores below FOLDER that no pointer means, and what killed runs left half made. Asks first."""
    from ..cache import SpaceClipError, find_garbage

    found = find_garbage(folder)
    total = f"{sum(one.bytes for one in found) / 1e9:,.2f} GB"
    if not as_json:
        for one in found:
            click.echo(f"{one.path}: {_described(one)}")
        if not found:
            click.echo(f"{folder}: every store is one that a pointer means")
            return
        if not yes and not sys.stdin.isatty():
            raise SpaceClipError(
                f"{folder}: these {len(found)} would be removed, {total}; no terminal to ask at, so give --yes"
            )
    go = yes or (not as_json and click.confirm(f"{len(found)} found, {total}. Remove these?"))
    removed = _remove(found, folder) if go else []
    if as_json:
        told = [{**asdict(one), "removed": one in removed} for one in found]
        click.echo(json.dumps({"folder": folder, "found": told}, indent=1, default=str))
    elif removed:
        click.echo(f"{folder}: removed {len(removed)} of {len(found)}")


def _described(one: "Garbage") -> str:
    size = f"{one.bytes / 1e9:,.2f} GB"
    if one.kind == "partial":
        return f"left half made by a process that is dead, {size}"
    if one.shards < one.total:
        return f"no pointer means it, {size}; never finished, {one.shards} of {one.total} shards"
    return f"no pointer means it, {size}"


def _remove(found: "list[Garbage]", folder: Path) -> "list[Garbage]":
    from ..cache import StoreError, remove
    from .progress import progress

    removed = []
    with progress("remove", "folders") as report:
        for number, one in enumerate(found):
            report(number, len(found))
            try:
                if remove(one, folder):
                    removed.append(one)
                else:
                    click.echo(f"{one.path}: kept, a pointer means it now", err=True)
            except StoreError as error:
                click.echo(f"kept: {error}", err=True)
    return removed


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def copy(path: Path, out: Path, *, as_json: bool) -> None:
    """Copy a store and its pointer into the folder OUT, verified; the same command goes on after an interruption.

    PATH is the store, its pointer, or a folder with one pointer.
    """
    from ..cache import copy as copy_store
    from .progress import progress

    with progress("copy", "MB") as report:
        done = copy_store(path, out, lambda done, total: report(done // 10**6, total // 10**6))
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1, default=str))
        return
    click.echo(
        f"{done.pointer or done.store}: all {done.shards} shards are in {done.store} "
        f"({done.copied} copied and verified now, {done.bytes / 1e9:,.2f} GB)"
    )
    if done.pointer is None:
        click.echo(f"{done.store}: no pointer was written, the original lacks shards", err=True)
