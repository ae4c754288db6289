"""What this process computes features with."""

from importlib.metadata import version

import torch

from ...cache import SpaceClipError
from ...cache.cluster import Environment
from ..towers import compute_dtype, device_kind

# They decide an image's pixels, a feature's last bits, or how an object is coded.
_LIBRARIES = ("torch", "transformers", "Pillow", "numcodecs")


def device_here(name: str) -> torch.device:
    """A worker's device; `auto` is its GPU, if it has one.

    Raises:
        SpaceClipError: It has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SpaceClipError(f"it has no CUDA device (torch {version('torch')}), the run asks for {name}")
    return torch.device(name)


def environment_here(device: str, precision: str) -> Environment:
    """The environment of this process.

    Args:
        device: As `device_here`.
        precision: As `BackboneSettings`.

    Raises:
        SpaceClipError: It has no such device.
    """
    here = device_here(device)
    dtype = str(compute_dtype(precision, here)).removeprefix("torch.")
    return Environment(device_kind(here), dtype, tuple((name, version(name)) for name in _LIBRARIES))
