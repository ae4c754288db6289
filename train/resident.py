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

Residence = Literal["auto", "device", "memory", "no"]

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
        views = batches.views
        # The last batch is filled up with rows that are there already.
        places = np.resize(np.arange(count), (-(-count // size), size))
        for number, flipped in enumerate(views):
            read = batches.read(zip(batches.rows[places], np.full(places.shape, flipped), strict=True))
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
        if len(self._batches.views) > 1:
            places = places + flipped * len(self._batches.rows)
        for at in torch.from_numpy(places[first:]).to(self._device):
            yield prepared({name: array.index_select(0, at) for name, array in self._arrays.items()}, self._unit)


def residence(batches: Batches, device: torch.device, wanted: Residence) -> Residence:
    """Where the features of all batches are kept: on the `device`, in `memory`, or in neither (`no`).

    Raises:
        SpaceClipError: They do not fit where they are wanted, or the device has no memory of its own.
    """
    if wanted == "device" and device.type == "cpu":
        raise SpaceClipError(
            "train.resident is device, and training on cpu has none: set it to memory (the machine's own) or auto, or "
            "train on a card (--device cuda)"
        )
    if wanted == "auto":
        fit = device.type == "cuda" and needed_bytes(batches) < _SHARE * _free_bytes(device)
        return "device" if fit else "no"
    place = torch.device("cpu") if wanted == "memory" else device
    if wanted != "no" and (needed := needed_bytes(batches)) > (free := _free_bytes(place)):
        raise SpaceClipError(
            f"resident: the features take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on {place}; keep fewer "
            "layers, store them in int8, or set train.resident to no"
        )
    return wanted


def needed_bytes(batches: Batches) -> int:
    """Of the features of all batches, loaded once."""
    return len(batches.views) * len(batches.rows) * batches.sample_bytes


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with suppress(OSError):
        if found := re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text()):
            return 1024 * int(found[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
