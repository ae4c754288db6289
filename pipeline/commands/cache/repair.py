"""`spaceclip cache repair`: taking away what is damaged in a store."""

from typing import TYPE_CHECKING

import click

from ...paths import FEATURES

if TYPE_CHECKING:
    from ....cache import Location


@click.command()
@click.argument("path", type=FEATURES)
@click.option("--deep", is_flag=True, help="Verify deeply.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def repair(path: "Location", *, deep: bool, as_json: bool) -> None:
    """Verify a store and take away just its damaged shards; the same `spaceclip extract` then computes only those.

    Metadata that follows from the store's identity is written anew.
    """
    from ....cache import repair as repair_store
    from .reading import as_plain, counting, list_problems, print_json, stored_size

    with counting("verify", stored_size(path)) as count:
        done = repair_store(path, count, deep=deep)
    if as_json:
        print_json(as_plain(done))
    else:
        list_problems(done)
        for file in done.rewritten:
            click.echo(f"{done.store}: {file}: written anew")
        for shard in done.removed:
            click.echo(f"{done.store}: shard {shard}: taken away")
    if done.pending or done.left:
        what = [f"{len(done.pending)} of {done.shards} shards"] if done.pending else []
        click.echo(
            f"{done.store}: now run the same `spaceclip extract` that made it: it writes anew only "
            f"{', '.join([*what, *done.left])}",
            err=as_json,
        )
    elif not as_json:
        click.echo(f"{done.store}: all {done.shards} shards are as the ledger says")
