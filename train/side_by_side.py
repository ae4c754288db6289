"""Decoders that compute at once on a CPU, each on a share of the threads."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

HELD = 2
"""Batches that decoders side by side may be busy with."""


def at_once(decoders: int, device: torch.device) -> int:
    """How many of some decoders compute at once, each with an equal share of the threads; a GPU takes one by one.

    As many as there are threads, since a narrow decoder alone keeps few of them busy.
    """
    return min(decoders, torch.get_num_threads()) if device.type == "cpu" else 1


class SideBySide:
    """Lets each of some decoders work on one batch after another.

    Args:
        decoders: How many there are.
        pool: Where they work; each in its turn in the thread of the caller without one.
    """

    def __init__(self, decoders: int, pool: ThreadPoolExecutor | None) -> None:
        self._decoders, self._pool = decoders, pool
        self._batches: deque[list[Future[None]]] = deque()

    def __call__(self, work: Callable[[int], None]) -> None:
        """Call a function with the number of each decoder; for each of them, after the calls before.

        Comes back while the last `HELD - 1` calls are still worked on: so no thread waits for the slowest of a batch.
        """
        if self._pool is None:
            for number in range(self._decoders):
                work(number)
            return
        before = self._batches[-1] if self._batches else [None] * self._decoders
        # The pool begins tasks in their order: what one waits for has begun.
        self._batches.append([self._pool.submit(_after, one, work, number) for number, one in enumerate(before)])
        self._wait(HELD - 1)

    def finish(self) -> None:
        """Wait for all calls."""
        self._wait(0)

    def _wait(self, left: int) -> None:
        while len(self._batches) > left:
            for call in self._batches.popleft():
                call.result()


def _after(before: Future[None] | None, work: Callable[[int], None], number: int) -> None:
    if before:
        before.result()
    work(number)


@contextmanager
def side_by_side(decoders: int, device: torch.device) -> Iterator[SideBySide]:
    """Context in which decoders compute at once."""
    threads, workers = torch.get_num_threads(), at_once(decoders, device)
    if workers <= 1:
        yield SideBySide(decoders, None)
        return
    pool = ThreadPoolExecutor(workers, "decoder", torch.set_num_threads, (threads // workers,))
    try:
        yield SideBySide(decoders, pool)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # threads to come have what was set last
