"""`spaceclip cache verify` and `repair`: finding what is damaged in a store, and taking it away."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..paths import FEATURES

if TYPE_CHECKING:
    from ...cache import Location, Repair, Verification


@click.command()
@click.argument("path", type=FEATURES)
@click.option("--deep", is_flag=True, help="Also decode every chunk and compute the statistics of each layer again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(path: "Location", *, deep: bool, as_json: bool) -> None:
    """Compare every byte of a store with its ledger; exit status 1 if anything is missing, torn or altered."""
    from ...cache import StoreError
    from ...cache import verify as verify_store
    from .cache_progress import counting

    with counting("verify", _size(path)) as count:
        found = verify_store(path, count, deep=deep)
    if as_json:
        _print({**_plain(found), "deep": deep})
    elif found.problems:
        _list(found)
    if found.problems:
        raise StoreError(
            f"{found.store}: {_counted(found)}; run `spaceclip cache repair {path}`, then the same `spaceclip extract`"
        )
    if not as_json:
        checked = " and decoded" if deep else ""
        click.echo(
            f"{found.store}: all {found.shards} shards are as the ledger says "
            f"({found.bytes / 1e9:,.2f} GB read{checked})"
        )


@click.command()
@click.argument("path", type=FEATURES)
@click.option("--deep", is_flag=True, help="Verify deeply.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def repair(path: "Location", *, deep: bool, as_json: bool) -> None:
    """Verify a store and take away just its damaged shards; the same `spaceclip extract` then computes only those.

    Metadata that follows from the store's identity is written anew. Exit status 1 while extraction has to follow.
    """
    from ...cache import StoreError
    from ...cache import repair as repair_store
    from .cache_progress import counting

    with counting("verify", _size(path)) as count:
        done = repair_store(path, count, deep=deep)
    if as_json:
        _print(_plain(done))
    else:
        for problem in done.problems:
            click.echo(f"{done.store}: {problem}")
        for file in done.rewritten:
            click.echo(f"{done.store}: {file}: written anew")
        for shard in done.removed:
            click.echo(f"{done.store}: shard {shard}: taken away")
    if done.pending or done.left:
        what = [f"{len(done.pending)} of {done.shards} shards"] if done.pending else []
        raise StoreError(
            f"{done.store}: now run the same `spaceclip extract` that made it: it writes anew only "
            f"{', '.join([*what, *done.left])}"
        )
    if not as_json:
        click.echo(f"{done.store}: all {done.shards} shards are as the ledger says")


def _size(path: "Location") -> int:
    """Bytes to read, as far as the ledger can be read."""
    from ...cache import FeatureCache, StoreError, stored_bytes

    try:
        return stored_bytes(FeatureCache.open(path, allow_incomplete=True))
    except StoreError:
        return 0


def _list(found: "Verification") -> None:
    for problem in found.problems:
        click.echo(f"{found.store}: {problem}")


def _counted(found: "Verification") -> str:
    shards = len({problem.shard for problem in found.problems if problem.shard is not None})
    number = f"{len(found.problems)} {'problem' if len(found.problems) == 1 else 'problems'}"
    return f"{number}, {shards} of {found.shards} shards concerned" if shards else number


def _plain(found: "Verification | Repair") -> dict[str, Any]:
    return {**vars(found), "problems": [asdict(problem) for problem in found.problems]}


def _print(found: dict[str, Any]) -> None:
    click.echo(json.dumps(found, indent=1, default=str))
