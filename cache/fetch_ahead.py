"""Asking the system for what is read soon, in the order in which it lies on the disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import itemgetter
from threading import Event
from typing import TypeVar

from .format.shard import ShardedArray

T = TypeVar("T")
Chunk = tuple[ShardedArray, int, int]
"""An array, a row and a view."""


def fetching_ahead(batches: Iterable[T], chunks: Callable[[T], Iterable[Chunk]], group: int) -> Iterator[T]:
    """The batches, while a thread has the system fetch the chunks of those of this group and of the next.

    They lie in the page cache then, which the system takes back where it wants room; this process holds nothing more.

    Args:
        batches: What will be read.
        chunks: Those of a batch.
        group: Batches whose chunks are asked for at once, sorted.
    """
    closing, remaining = Event(), iter(batches)

    def fetch(wanted: Sequence[T]) -> None:
        found = sorted(
            ((array.name, row, view, array) for batch in wanted for array, row, view in chunks(batch)),
            key=itemgetter(0, 2, 1),
        )
        for _, row, view, array in found:
            if closing.is_set():
                return
            array.will_read(row, view)

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        try:
            now = list(islice(remaining, group))
            pool.submit(fetch, now)
            while now:
                after = list(islice(remaining, group))
                pool.submit(fetch, after)
                yield from now
                now = after
        finally:
            closing.set()
            pool.shutdown(cancel_futures=True)
