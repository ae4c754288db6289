"""The device that an encoder computes on: what decides the bits that it gives, and how it fails."""

import platform

import torch

from ...cache import SpaceClipError, is_out_of_memory


def device_kind(device: torch.device) -> str:
    """A short name that differs between devices whose features may differ in their last bits.

    >>> device_kind(torch.device("mps"))
    'mps'
    """
    if device.type == "cuda":
        if torch.version.hip:
            return f"rocm {torch.cuda.get_device_properties(device).gcnArchName}"
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda sm_{major}{minor}"
    if device.type == "cpu":
        # Matrix units add up bfloat16 products in another order.
        amx = " AMX" if torch.cpu._is_amx_tile_supported() else ""
        return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}{amx}"
    return device.type


def use_ieee_float32() -> None:
    """Have products of float32 computed in float32; by default a card's convolutions have TF32's ten bits of 23."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # Since torch 2.9 each operation has a switch of its own, which overrules the old ones where it was set.
    if hasattr(torch.backends, "fp32_precision"):
        cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
        for operation in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn):
            operation.fp32_precision = "ieee"


def is_device_lost(error: BaseException) -> bool:
    """Whether a card failed, and answers this process no more: off the bus, or after a fault that it cannot clear."""
    failed = isinstance(error, getattr(torch, "AcceleratorError", ())) or (
        isinstance(error, RuntimeError) and str(error).startswith(("CUDA error", "HIP error"))
    )
    return failed and not is_out_of_memory(error)


def device_lost(device: object, error: BaseException) -> SpaceClipError:
    """What to say of a card for which `is_device_lost` holds."""
    what = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return SpaceClipError(
        f"{device} failed in mid-run and answers no more ({what}); what is committed is safe: look at the card with "
        "nvidia-smi, then run the same command again to go on"
    )
