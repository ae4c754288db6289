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
    from ....cache import Location, Repair, Verification


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
    """Print a line for each problem, and one where another store has the same damaged files."""
    for problem in found.problems:
        click.echo(f"{found.store}: {problem}")
    if linked := sum(problem.linked for problem in found.problems):
        click.echo(
            f"{found.store}: {linked} of the damaged files are hard links, which the store that it grew from or that "
            "grew from it holds too: verify the stores of this split beside it as well"
        )


def print_json(found: dict[str, Any]) -> None:
    """Print JSON; a path is its text."""
    click.echo(json.dumps(found, indent=1, default=str))
