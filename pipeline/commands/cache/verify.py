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
    """Compare every byte of a store with its ledger; exit status 1 if anything is missing, torn or altered.

    PATH is the store, its pointer, or the folder of the pointers; JSON of several is by split.
    """
    from ....cache import StoreError
    from ....cache import verify as verify_store
    from ...features import split_stores
    from .reading import as_plain, by_split, counting, print_json, stored_size

    facts, faults = {}, []
    for name, file in split_stores(path).items():
        with counting(f"verify {name}".rstrip(), stored_size(file)) as count:
            found = verify_store(file, count, deep=deep)
        facts[name] = {**as_plain(found), "deep": deep}
        if not as_json:
            _print(found, deep=deep)
        if found.problems:
            faults.append(_fault(found, file))
    if as_json:
        print_json(by_split(facts))
    if faults:
        raise StoreError("; ".join(faults))


def _print(found: "Verification", *, deep: bool) -> None:
    from ....cache import size_text
    from .reading import all_shards, list_problems

    list_problems(found)
    if not found.problems:
        read = f"{size_text(found.bytes)} read{' and decoded' if deep else ''}"
        click.echo(f"{found.store}: {all_shards(found.shards)} as the ledger says ({read})")


def _fault(found: "Verification", file: "Location") -> str:
    from .reading import lacking

    damaged = [problem for problem in found.problems if problem not in lacking(found)]
    if not damaged:
        return f"{found.store}: not finished; run the same `spaceclip extract` again"
    shards = len({problem.shard for problem in damaged if problem.shard is not None})
    number = f"{len(damaged)} {'problem' if len(damaged) == 1 else 'problems'}"
    concerned = f"{number}, {shards} of {found.shards} shards concerned" if shards else number
    return f"{found.store}: {concerned}; run `spaceclip cache repair {file}`, then the same `spaceclip extract`"
