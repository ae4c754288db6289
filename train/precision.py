"""The precision of the decoder's arithmetic; losses are float32 whatever it is."""

from contextlib import AbstractContextManager

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


def autocast(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which the decoder computes in the precision of that name."""
    dtype = resolve_precision(name, device)
    return torch.autocast(device.type, dtype, enabled=dtype is not torch.float32)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
