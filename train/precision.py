"""The precision of the decoder's arithmetic; losses are float32 whatever it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..cache import SpaceClipError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type to compute in; `auto` takes bfloat16 where the device has arithmetic for it, else float32.

    Raises:
        SpaceClipError: The name is unknown.
    """
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise SpaceClipError(f"precision: {name!r} is unknown here; choose auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


@contextmanager
def autocast(name: str, device: torch.device) -> Iterator[None]:
    """Context in which the decoder computes in the precision of that name; float32 is `ieee_float32`."""
    dtype = resolve_precision(name, device)
    with ieee_float32(), torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        yield


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Context in which float32 is IEEE's on CUDA too, where convolutions have TF32's ten bits of fraction by default.

    A backward pass needs it as well: it runs outside `autocast`.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
