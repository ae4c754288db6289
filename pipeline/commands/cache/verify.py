"""`spaceclip cache verify`: finding what is damaged in a store."""

from typing import TYPE_CHECKING

import click

from ...paths import FEATURES

if TYPE_CHECKING:
    from ....cache import Location, Verification


@click.command()
@click.argument("path", type=FEATURES)
@click.option("--deep", is_flag=True, help="Also decode every chunk and compute the statistics of each layer again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(path: "Location", *, deep: bool, as_json: bool) -> None:
    """Compare every byte of a store with its ledger; exit status 1 if anything is missing, torn or altered."""
    from ....cache import StoreError, size_text
    from ....cache import verify as verify_store
    from .reading import as_plain, counting, list_problems, print_json, stored_size

    with counting("verify", stored_size(path)) as count:
        found = verify_store(path, count, deep=deep)
    if as_json:
        print_json({**as_plain(found), "deep": deep})
    elif found.problems:
        list_problems(found)
    if found.problems:
        raise StoreError(
            f"{found.store}: {_counted(found)}; run `spaceclip cache repair {path}`, then the same `spaceclip extract`"
        )
    if not as_json:
        checked = " and decoded" if deep else ""
        click.echo(
            f"{found.store}: all {found.shards} shards are as the ledger says ({size_text(found.bytes)} read{checked})"
        )


def _counted(found: "Verification") -> str:
    shards = len({problem.shard for problem in found.problems if problem.shard is not None})
    number = f"{len(found.problems)} {'problem' if len(found.problems) == 1 else 'problems'}"
    return f"{number}, {shards} of {found.shards} shards concerned" if shards else number
