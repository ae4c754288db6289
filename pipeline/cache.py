"""`spaceclip cache`: looking into feature stores."""

from pathlib import Path

import click


@click.group()
def cache() -> None:
    """Look into a feature store, or check it."""


@cache.command()
@click.argument("path", type=click.Path(path_type=Path))
def info(path: Path) -> None:
    """Say what a store holds. PATH is the store, its pointer, or a folder with one pointer."""
    from rich.console import Console
    from rich.table import Table

    from ..cache import FeatureCache, stored_bytes

    store = FeatureCache.open(path, allow_incomplete=True)
    shards = -(-len(store) // store.shard)
    identity = store.identity
    depth = identity["depth"]
    table = Table(title=str(store.path), show_header=False, title_justify="left")
    for name, value in {
        "fingerprint": store.fingerprint,
        "samples": f"{len(store):,}",
        "shards": f"{len(store.records):,} of {shards:,} committed",
        "size": f"{stored_bytes(store) / 1e9:,.2f} GB",
        "backbone": f"{identity['backbone']['name']} ({identity['backbone']['revision']})",
        "precision": f"computed in {identity['backbone']['precision']}, stored in float16",
        "hidden states": ", ".join(map(str, store.layers)),
        "views": ", ".join(store.views),
        "tokens": f"{identity['tokens']['patches']} patches x {identity['tokens']['channels']} channels",
        "depth": f"{depth['size'][0]} x {depth['size'][1]}, in steps of {depth['unit']:g} m" if depth else "none",
        "data": ", ".join(f"{name} {value}" for name, value in store.about.items() if value is not None),
    }.items():
        table.add_row(name, value)
    Console().print(table)


@cache.command()
@click.argument("path", type=click.Path(path_type=Path))
def verify(path: Path) -> None:
    """Compare every byte of a store with its ledger; exit status 1 if anything is missing, torn or altered."""
    from ..cache import FeatureCache, StoreError, stored_bytes
    from ..cache import verify as verify_store
    from .progress import progress

    total = stored_bytes(FeatureCache.open(path, allow_incomplete=True)) // 10**6
    done = 0
    with progress("verify", "MB") as report:

        def read(size: int) -> None:
            nonlocal done
            done += size
            report(done // 10**6, total)

        found = verify_store(path, read)
    for problem in found.problems:
        click.echo(f"{found.store}: {problem}")
    if found.problems:
        shards = len({problem.shard for problem in found.problems})
        raise StoreError(
            f"{found.store}: {len(found.problems)} problems in {shards} of {found.shards} shards; delete the "
            "ledger records of those shards (ledger/<shard>.json) and run the same `spaceclip extract` to redo them"
        )
    click.echo(f"{found.store}: all {found.shards} shards are as the ledger says ({found.bytes / 1e9:,.2f} GB read)")
