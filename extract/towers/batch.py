"""How many images an encoder is given at once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from ...cache import is_out_of_memory
from .backbone import Backbone

ON_CPU = 16
_FIRST, _MOST = 32, 128
"""Larger ones gain little and hold more page-locked memory of the host: with the standard shard 1.6 GB at 128."""
_GAIN = 1.05
"""A batch of twice the size must be faster by this, since it takes twice the memory."""
_MOST_OF_FREE = 0.6
_TIMES = 3

# Times differ from trial to trial: all splits of a run have the batch of the first.
_CHOSEN: WeakKeyDictionary[Backbone, dict[tuple[tuple[int, ...], int], int]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Trial:
    """What a batch of some size took.

    Attributes:
        rate: Images a second.
        bytes: Memory that it needed at its peak, without the weights.
    """

    rate: float
    bytes: int


def default_batch(backbone: Backbone, layers: Sequence[int], views: int) -> int:
    """Images in one forward pass where nobody asked for a number; on a CUDA card by trying some, which takes seconds.

    Args:
        backbone: The encoder.
        layers: Hidden states to keep.
        views: How many views of each image are encoded.
    """
    if backbone.device.type != "cuda":
        return ON_CPU
    chosen, asked = _CHOSEN.setdefault(backbone, {}), (tuple(layers), views)
    if asked not in chosen:
        free, _ = torch.cuda.mem_get_info(backbone.device)
        room = int(_MOST_OF_FREE * free)
        chosen[asked] = choose_batch(lambda size: _trial_on_cuda(backbone, layers, views, size), room)
        torch.cuda.empty_cache()
    return chosen[asked]


def choose_batch(measure: Callable[[int], Trial], room: int) -> int:
    """The largest batch that still pays: doubled from 32 to 128 as long as it gets faster by 5 % and fits.

    Args:
        measure: Tries a batch of a size; it may run out of memory.
        room: Bytes that it may need.

    Returns:
        The size; less than 32 where that does not fit, at least 1.
    """

    def fitting(size: int) -> Trial | None:
        try:
            trial = measure(size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return trial if trial.bytes <= room else None

    size = _FIRST
    while (best := fitting(size)) is None and size > 1:
        size //= 2
    while best and _FIRST <= size < _MOST and 2 * best.bytes <= room:
        larger = fitting(2 * size)
        if larger is None or larger.rate < _GAIN * best.rate:
            break
        size, best = 2 * size, larger
    return size


def _trial_on_cuda(backbone: Backbone, layers: Sequence[int], views: int, size: int) -> Trial:
    device, side = backbone.device, backbone.input_size
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    images = torch.zeros((size, 3, side, side), dtype=torch.uint8, device=device)

    def encode(times: int) -> None:
        for _ in range(times * views):
            states = backbone.encode(images, layers).states.values()
            _ = [state.to(torch.float16) for state in states]  # as they are stored
        torch.cuda.synchronize(device)

    encode(1)  # chooses kernels
    start = time.perf_counter()
    encode(_TIMES)
    return Trial(_TIMES * size / (time.perf_counter() - start), torch.cuda.max_memory_allocated(device) - before)
