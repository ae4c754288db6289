"""Memory that a variant takes at its peak, each measured in a process of its own."""

import ctypes
import gc
import re
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import torch

from ...cache import SpaceClipError
from ...extract import load_backbone
from .source import Source, Variant

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def said_of_memory(device: torch.device) -> str:
    """What the numbers are."""
    if device.type == "cuda":
        return "torch.cuda.max_memory_allocated while computing, in a fresh process each"
    when = "while computing" if _CLEAR.exists() else "while loading and computing"
    return f"growth of the resident memory at its peak {when}, libraries not counted, in a fresh process each"


def peak_memory(source: Source, variant: Variant, batches: Sequence[int]) -> list[int]:
    """Bytes that a variant takes with batches of some sizes, ascending: weights and what it computes.

    Raises:
        SpaceClipError: The process was ended, as the system does where memory is short.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        try:
            return fresh.submit(peak_here, source, variant, batches, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise SpaceClipError(
                f"the process that measures the memory of {variant.name} was ended: give a smaller --batch, or end "
                "what else holds memory"
            ) from error


def peak_here(source: Source, variant: Variant, batches: Sequence[int], threads: int) -> list[int]:
    """The same in this process, whose peak of memory it sets back."""
    torch.set_num_threads(threads)
    load_backbone("embedded:clip-tiny")  # the libraries are loaded then
    before = _reset_peak()
    networks = source.load(variant)
    device = networks.encoders[0].device
    found = []
    for batch in batches:
        images = networks.images(batch)
        _reset_peak()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for _ in range(3):
            networks.compute(variant, images)
        found.append(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak() - before)
    return found


def _reset_peak() -> int:
    """Give back what is free, and let the peak be what is resident now, where the system can."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's
    with suppress(OSError):
        _CLEAR.write_text("5")
    return _peak()


def _peak() -> int:
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()):
            return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
