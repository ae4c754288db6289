"""Threads that are at most so far ahead of who takes their results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool:
    """Threads that are at most so far ahead; what fails in one is raised by whoever hands it work, or leaves.

    Args:
        threads: How many.
        name: Of the threads.
        most: Weight of what is under way together, if more than one thing is.
    """

    def __init__(self, threads: int, name: str, most: int = 0) -> None:
        self._threads, self._most = threads, most
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._under_way: deque[tuple[Future[Any], int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while not kind and self._under_way:
                self._wait()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, call: Callable[..., object], *given: Any, weight: int) -> None:
        """Have something done; waits while twice as much as there are threads is under way, or it weighs too much."""
        while self._under_way and (
            len(self._under_way) >= 2 * self._threads
            or weight + sum(weight for _, weight in self._under_way) > self._most
        ):
            self._wait()
        self._under_way.append((self._pool.submit(call, *given), weight))

    def map(self, call: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
        """Results in order, at most so many of them ahead of who takes them."""
        items = iter(items)
        coming = deque(self._pool.submit(call, item) for item in islice(items, ahead))
        while coming:
            yield coming.popleft().result()
            coming.extend(self._pool.submit(call, item) for item in islice(items, 1))

    def _wait(self) -> None:
        self._under_way.popleft()[0].result()
