"""Decoders that are trained together on a CPU take their steps at once, each on a share of the threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def groups(decoders: int, device: torch.device) -> list[range]:
    """Which of some decoders, by their numbers, take a step at once; group after group.

    As many as there are threads, since a narrow decoder alone keeps few of them busy; a group shares them. How many are
    still to be trained does not count: one that goes on has the threads that it began with. A GPU takes one by one.
    """
    most = torch.get_num_threads() if device.type == "cpu" else 1
    return [range(first, min(first + most, decoders)) for first in range(0, decoders, most)]


@contextmanager
def side_by_side(decoders: int, device: torch.device) -> Iterator[Callable[[Callable[[int], None]], None]]:
    """A function that calls another one with the number of each decoder, those of a group at once."""
    threads, parts = torch.get_num_threads(), groups(decoders, device)

    def one_by_one(work: Callable[[int], None]) -> None:
        for number in range(decoders):
            work(number)

    if len(parts) == decoders:
        yield one_by_one
        return

    with ThreadPoolExecutor(len(parts[0]), "step") as pool:

        def at_once(work: Callable[[int], None]) -> None:
            for part in parts:
                share = threads // len(part)

                def shared(number: int, share: int = share) -> None:
                    torch.set_num_threads(share)  # of this thread alone
                    work(number)

                for _ in pool.map(shared, part):
                    pass

        try:
            yield at_once
        finally:
            torch.set_num_threads(threads)  # threads to come have what was set last
