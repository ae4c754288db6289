"""The precision of the decoder's arithmetic; losses are float32 whatever it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..cache import SpaceClipError

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type to compute in; `auto` takes bfloat16 where the device has arithmetic for it, else float32.

    Raises:
        SpaceClipError: The name is unknown, or the device lacks that precision.
    """
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise SpaceClipError(f"precision: {name!r} is unknown here; choose auto, {', '.join(PRECISIONS)}")
    if name == "tf32" and not _has_tf32(device):
        raise SpaceClipError(
            f"precision: tf32 needs a CUDA card of compute capability 8.0 or more, this is {device}; choose auto or "
            "float32"
        )
    # A processor computes in bfloat16 with or without instructions for it.
    if name == "bfloat16" and device.type == "cuda" and not _has_bfloat16(device):
        raise SpaceClipError(f"precision: {device} has no bfloat16 arithmetic; choose auto or float32")
    return PRECISIONS[name]


@contextmanager
def autocast(name: str, device: torch.device) -> Iterator[None]:
    """Context in which the decoder computes in the precision of that name."""
    dtype = resolve_precision(name, device)
    with float32_as(name, device), torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        yield


@contextmanager
def float32_as(name: str, device: torch.device) -> Iterator[None]:
    """Context in which CUDA's float32 is TF32's ten bits of fraction where the precision is `tf32`, else IEEE's.

    CUDA's convolutions have TF32 by default. A backward pass needs the context too: it runs outside `autocast`. What
    it sets is the process's: on a CPU, where threads step at once, it sets nothing.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
