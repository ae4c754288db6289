"""`spaceclip cache repair`: taking away what is damaged in a store."""

from typing import TYPE_CHECKING

import click

from ...paths import FEATURES

if TYPE_CHECKING:
    from ....cache import Location, Repair


@click.command()
@click.argument("path", type=FEATURES)
@click.option("--deep", is_flag=True, help="Verify deeply.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def repair(path: "Location", *, deep: bool, as_json: bool) -> None:
    """Verify a store and take away just its damaged shards; the same `spaceclip extract` then computes only those.

    Metadata that follows from the store's identity is written anew. PATH is the store, its pointer, or the folder of
    the pointers; JSON of several is by split.
    """
    from ....cache import repair as repair_store
    from ...features import split_stores
    from .reading import as_plain, by_split, counting, print_json, stored_size

    facts = {}
    for name, file in split_stores(path).items():
        with counting(f"verify {name}".rstrip(), stored_size(file)) as count:
            done = repair_store(file, count, deep=deep)
        facts[name] = as_plain(done)
        _print(done, as_json=as_json)
    if as_json:
        print_json(by_split(facts))


def _print(done: "Repair", *, as_json: bool) -> None:
    from .reading import all_shards, list_problems

    if not as_json:
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
        click.echo(f"{done.store}: {all_shards(done.shards)} as the ledger says")
