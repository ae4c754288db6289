"""All training features in the device's own memory, where they fit: no epoch waits for a disk or a copy."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..cache import Batches, SpaceClipError
from .feed import Inputs, on_device, prepared

Residence = Literal["auto", "device", "no"]

_SHARE = 0.6
"""Of the free memory, that features take at most where nobody asked for it; the rest is the decoder's."""


class Resident:
    """The features of all batches, loaded once.

    Args:
        batches: What to load, and in what order it is seen.
        device: Where to keep it.
    """

    def __init__(self, batches: Batches, device: torch.device) -> None:
        self._batches, self._device, self._arrays, self._unit = batches, device, {}, 1.0
        count, size = len(batches.rows), batches.size
        views = _views(batches)
        # The last batch is filled up with rows that are there already.
        places = np.resize(np.arange(count), (-(-count // size), size))
        for number, flipped in enumerate(views):
            read = batches.read(batches.rows[places], np.full(places.shape, flipped))
            for at, batch in zip(places, read, strict=True):
                self._unit = batch.unit
                into = torch.from_numpy(at + number * count).to(device)
                for name, rows in on_device(batch, device).items():
                    if name not in self._arrays:
                        self._arrays[name] = rows.new_empty((len(views) * count, *rows.shape[1:]))
                    self._arrays[name][into] = rows
                if device.type == "cuda":
                    torch.cuda.synchronize(device)  # the buffers of the batch are used again

    def epoch(self, number: int, first: int = 0) -> Iterator[Inputs]:
        """The batches of one epoch, the same as from the store, from the first that is wanted."""
        rows, flipped = self._batches.order(number)
        places = np.searchsorted(self._batches.rows, rows)
        if len(_views(self._batches)) > 1:
            places = places + flipped * len(self._batches.rows)
        for at in torch.from_numpy(places[first:]).to(self._device):
            yield prepared({name: array.index_select(0, at) for name, array in self._arrays.items()}, self._unit)


def fits(batches: Batches, device: torch.device, residence: Residence) -> bool:
    """Whether the features of all batches are to be kept on a device.

    Raises:
        SpaceClipError: They are to be, and do not fit.
    """
    if residence == "no" or (residence == "auto" and device.type != "cuda"):
        return False
    wanted, free = len(_views(batches)) * len(batches.rows) * batches.sample_bytes, _free_bytes(device)
    if residence == "auto":
        return wanted < _SHARE * free
    if wanted > free:
        raise SpaceClipError(
            f"resident: the features take {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on {device}; keep fewer "
            "layers, store them in int8, or set train.resident to no"
        )
    return True


def _views(batches: Batches) -> tuple[bool, ...]:
    """Which views are ever seen."""
    return {0.0: (False,), 1.0: (True,)}.get(batches.flip_probability, (False, True))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with suppress(OSError):
        if found := re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text()):
            return 1024 * int(found[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
