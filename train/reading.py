"""What a recipe reads: from the stores, or from memory that all of it was loaded into."""

import os
from collections.abc import Callable, Iterable, Sequence

import torch

from ..cache import Batches, Features
from .feed import Inputs, allocator, feed
from .recipe import TrainSettings
from .resident import Residence, Resident, residence
from .side_by_side import HELD

_LEAST_THREADS, _MOST_THREADS = 4, 16


def training_batches(
    features: Features, layers: Sequence[int], settings: TrainSettings, device: torch.device
) -> Batches:
    """The batches of a recipe, to be moved to a device.

    Raises:
        SpaceClipError: The features do not fit the recipe.
    """
    return Batches(
        features,
        settings.batch_size,
        layers,
        seed=settings.seed if settings.order_seed is None else settings.order_seed,
        flip_probability=settings.flip_probability,
        shuffle=settings.shuffle,
        samples=settings.overfit,
        threads=settings.reader_threads or min(max(os.cpu_count() or 1, _LEAST_THREADS), _MOST_THREADS),
        ahead=settings.batches_ahead or (4 if device.type == "cuda" else 2),
        held=HELD if device.type == "cpu" else 1,
        allocate=allocator(device),
    )


def inputs_of(batches: Batches, device: torch.device, wanted: Residence) -> Callable[[int, int], Iterable[Inputs]]:
    """A function from an epoch and the first batch that is wanted to the batches on the device.

    Raises:
        SpaceClipError: The features are to be kept in memory, and do not fit there.
    """
    where = residence(batches, device, wanted)
    if where == "device":
        return Resident(batches, device).epoch
    if where == "memory":
        batches.load()
    return lambda epoch, first: feed(batches.epoch(epoch, first), device)
