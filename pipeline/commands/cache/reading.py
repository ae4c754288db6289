"""What the commands that read whole stores have in common: progress in megabytes, and JSON."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any

import click

from ...progress import progress

if TYPE_CHECKING:
    from ....cache import Location, Problem, Repair, Verification


@contextmanager
def counting(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of the bytes in all are done.

    Yields:
        A function to call with the bytes of each piece of work, from any thread.
    """
    done, lock = 0, Lock()
    with progress(label, "MB") as report:

        def count(size: int) -> None:
            nonlocal done
            with lock:
                done += size
                report(done // 10**6, total // 10**6)

        yield count


def stored_size(path: "Location") -> int:
    """Bytes to read, as far as the ledger can be read."""
    from ....cache import FeatureCache, StoreError, stored_bytes

    try:
        return stored_bytes(FeatureCache.open(path, allow_incomplete=True))
    except StoreError:
        return 0


def as_plain(found: "Verification | Repair") -> dict[str, Any]:
    """What was found, as JSON has it."""
    return {**vars(found), "problems": [asdict(problem) for problem in found.problems]}


def list_problems(found: "Verification | Repair") -> None:
    """Print a line for each problem, one for shards that were never written, one for files that other stores share."""
    for problem in found.problems:
        if problem not in lacking(found):
            click.echo(f"{found.store}: {problem}")
    if number := len(lacking(found)):
        click.echo(
            f"{found.store}: not finished, {number} of {found.shards} shards are not there; run the same "
            "`spaceclip extract` again"
        )
    if linked := sum(problem.linked for problem in found.problems):
        click.echo(
            f"{found.store}: {linked} of the damaged files are hard links, which the store that it grew from or that "
            "grew from it holds too: verify the stores of this split beside it as well"
        )


def lacking(found: "Verification | Repair") -> "list[Problem]":
    """The shards without a record: no damage, the extraction did not come to them."""
    return [one for one in found.problems if one.kind == "missing" and one.part is None and one.file is None]


def all_shards(number: int) -> str:
    """The subject and verb of what is true of each shard.

    >>> all_shards(1), all_shards(3)
    ('its shard is', 'all 3 shards are')
    """
    return "its shard is" if number == 1 else f"all {number} shards are"


def by_split(facts: dict[str, Any]) -> Any:
    """As JSON says it: by split, or alone what has no name."""
    return facts.get("", facts)


def print_json(found: Any) -> None:
    """Print JSON; a path is its text."""
    click.echo(json.dumps(found, indent=1, default=str))
