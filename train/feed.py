"""Batches of the store as tensors on the training device, moved while the device computes."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from ..cache import Allocate, Batch


@dataclass(frozen=True)
class Inputs:
    """One batch on the device.

    Attributes:
        states: Patch tokens by layer, each [B, P, C] float16.
        pooled: [B, C] float32.
        depth: [B, 1, H, W] metres, float32, 0 where nothing was measured.
        copying: Seconds that it took to bring them there.
    """

    states: dict[int, Tensor]
    pooled: Tensor
    depth: Tensor
    copying: float = 0.0


def allocator(device: torch.device) -> Allocate:
    """How to allocate the buffers of `Batches`: page-locked for CUDA, so that copies run beside compute."""
    if device.type != "cuda":
        return np.empty

    def pinned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return torch.empty(shape, dtype=kind, pin_memory=True).numpy()

    return pinned


def feed(batches: Iterable[Batch], device: torch.device) -> Iterator[Inputs]:
    """Move batches to the device; on CUDA the next one is on its way while the last is computed on."""
    if device.type != "cuda":
        for batch in batches:
            began = time.perf_counter()
            moved = prepared(on_device(batch, device), batch.unit)
            yield replace(moved, copying=time.perf_counter() - began)
        return
    copies = torch.cuda.Stream(device)
    ready: Inputs | None = None
    for batch in batches:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.stream(copies):
            began.record()
            moved = prepared(on_device(batch, device), batch.unit)
            ended.record()
        # The buffers of the batch are used again as soon as the next one is asked for.
        copies.synchronize()
        moved = replace(moved, copying=began.elapsed_time(ended) / 1000)
        if ready is not None:
            yield ready
        ready = moved
        for tensor in (*moved.states.values(), moved.pooled, moved.depth):
            tensor.record_stream(torch.cuda.current_stream(device))
    if ready is not None:
        yield ready


def on_device(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """The arrays of a batch as they are stored, on a device; depth by its bits, since few kernels know uint16."""

    def move(array: NDArray) -> Tensor:
        # Only CUDA waits for the buffers, see `feed`; on MPS an asynchronous copy may read them too late.
        return torch.from_numpy(array).to(device, non_blocking=device.type == "cuda")

    arrays = {f"states/{n}": state for n, state in batch.states.items()}
    arrays |= {f"scales/{n}": scale for n, scale in batch.scales.items()}
    arrays |= {"pooled": batch.pooled, "depth": batch.depth.view(f"i{batch.depth.itemsize}"), "flipped": batch.flipped}
    return {name: move(array) for name, array in arrays.items()}


def prepared(stored: Mapping[str, Tensor], unit: float) -> Inputs:
    """What the decoder sees, from what is stored.

    Args:
        stored: See `on_device`.
        unit: Metres of one count of depth.
    """
    states = {}
    for name, state in stored.items():
        kind, _, layer = name.partition("/")
        if kind == "states":
            scale = stored.get(f"scales/{layer}")
            states[int(layer)] = state if scale is None else (state * scale[:, None]).half()
    depth, flipped = metres(stored["depth"], unit), stored["flipped"][:, None, None, None]
    # The host's memory knows no fast way to mirror.
    return Inputs(states, stored["pooled"], torch.where(flipped, depth.flip(-1), depth))


def metres(counts: Tensor, unit: float) -> Tensor:
    """Depth in float32 metres from the bits of uint16 or uint32 counts.

    Counts below 2^24 of a unit that divides the metre give the float32 nearest to the truth, as `FeatureCache.depth`.

    Args:
        counts: int16 or int32, since few of PyTorch's kernels know unsigned ones.
        unit: Metres of one count.
    """
    wide = counts.int() & 0xFFFF if counts.dtype == torch.int16 else counts.long() & 0xFFFFFFFF
    steps = 1 / unit
    return wide.float() / round(steps) if abs(steps - round(steps)) < 1e-6 * steps else wide.float() * unit
