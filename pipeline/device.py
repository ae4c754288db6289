"""Choosing the machine's device."""

import torch

from ..cache import SpaceClipError


def choose_device(name: str) -> torch.device:
    """The device by name, as `cpu`, `cuda` or `cuda:1`; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        SpaceClipError: There is no such device here.
    """
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present[:0] = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device(present[0])
    if name not in present:
        raise SpaceClipError(
            f"device {name!r}: not on this machine, which has {', '.join(present)}; choose among those"
        )
    return torch.device(name)
