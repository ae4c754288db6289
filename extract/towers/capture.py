"""An encoder for batches of one size, called the fastest way that gives the very same bits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .backbone import Backbone, Features

Encode = Callable[[Tensor], Features]
"""Features of a batch [B, 3, S, S] of a fixed size."""

_TIMES = 5
_AS_FAST = 0.98
"""A candidate that is as fast but for noise is taken: it leaves more of the host's time to other stages."""


@dataclass(frozen=True)
class Tower:
    """How an encoder is called.

    Attributes:
        encode: Gives the features of a batch. Those of the call before may be overwritten by the next: what uses them
            must be on the same stream, or waited for.
        says: What was chosen, and how fast it is; empty where there was no choice.
    """

    encode: Encode
    says: str = ""


def fastest_tower(backbone: Backbone, layers: Sequence[int], batch: int) -> Tower:
    """The fastest way to call an encoder: on a CUDA card as one graph of all its kernels, if that pays.

    A graph replays the same kernels, and is taken only if it gives the very same bits: so it makes no difference to a
    store which way was chosen. What `torch.compile` makes of an encoder differs in the last bits, needs a compiler on
    the machine and a minute in each process: it is left out.

    Args:
        backbone: The encoder.
        layers: Hidden states to keep; a view that needs fewer is encoded with these all the same.
        batch: Images B of every batch.
    """

    def eager(images: Tensor) -> Features:
        return backbone.encode(images, layers)

    device, side = backbone.device, backbone.input_size
    if device.type != "cuda":
        return Tower(eager)
    with torch.cuda.device(device):
        draw = torch.Generator(device).manual_seed(0)
        images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device, generator=draw)
        return choose_tower(eager, {"CUDA graph": lambda: _graph(eager, torch.zeros_like(images))}, images, _rate)


def choose_tower(
    eager: Encode,
    candidates: Mapping[str, Callable[[], Encode]],
    images: Tensor,
    rate: Callable[[Encode, Tensor], float],
) -> Tower:
    """The fastest of some ways to call an encoder that give the same bits.

    Args:
        eager: The plain call, which is right.
        candidates: By name, what makes another way; one that fails is passed over, and said.
        images: [B, 3, S, S] uint8, a batch to compare and time them with.
        rate: Images a second of a way.
    """
    expected, best = eager(images), eager
    plain = fastest = rate(eager, images)
    name, others = "eager", []
    for other, make in candidates.items():
        try:
            encode = make()
            same = _same(encode(images), expected)
            found = rate(encode, images) if same else 0.0
        except Exception as error:  # whatever a driver or version makes of it: the plain call is there
            first = str(error).strip().split("\n", 1)[0]
            others.append(f"{other} failed: {type(error).__name__}: {first}")
            continue
        if not same:
            others.append(f"{other} gives other bits")
        elif found >= _AS_FAST * fastest:
            name, best, fastest = other, encode, found
        else:
            others.append(f"{other} {found:,.0f}")
    if best is not eager:
        others.insert(0, f"eager {plain:,.0f}")
    return Tower(best, f"encoder: {name}, {fastest:,.0f} images/s ({', '.join(others)})")


def _same(found: Features, expected: Features) -> bool:
    return found.states.keys() == expected.states.keys() and all(
        torch.equal(one, other)
        for one, other in zip(
            [*found.states.values(), found.pooled],
            [*(expected.states[layer] for layer in found.states), expected.pooled],
            strict=True,
        )
    )


def _rate(encode: Encode, images: Tensor) -> float:
    encode(images)
    torch.cuda.synchronize(images.device)
    start = time.perf_counter()
    for _ in range(_TIMES):
        encode(images)
    torch.cuda.synchronize(images.device)
    return _TIMES * len(images) / (time.perf_counter() - start)


def _graph(eager: Encode, images: Tensor) -> Encode:
    """All kernels of a call as one graph, which reads its images where these lie and writes always the same features.

    Args:
        eager: The plain call.
        images: [B, 3, S, S] uint8 on the card.
    """
    # Libraries make their workspaces at first, which must not be captured; PyTorch wants that done on a side stream.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            eager(images)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Other threads go on with calls that a capture of all threads would forbid: page-locked memory, copies.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        features = eager(images)

    def replay(given: Tensor) -> Features:
        images.copy_(given, non_blocking=True)
        graph.replay()
        return features

    return replay
