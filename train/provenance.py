"""What weights are made with: the code, the libraries and the machine."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

_ROOT = Path(__file__).parent.parent
_ROOMS = ("cache", "extract", "train", "evaluate", "pipeline")
_LIBRARIES = ("torch", "numpy", "zarr")


def made_with(device: torch.device) -> dict[str, str]:
    """The code, libraries and machine at work, by name.

    Args:
        device: Where it is computed.
    """
    return {
        "SpaceCLIP": f"{version('spaceclip')}, {_commit()}",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "Libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
        "Device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(device),
    }


def _processor(device: torch.device) -> str:
    threads = f"{torch.get_num_threads()} threads"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}, {threads}" if device.type == "cpu" else device.type


@cache
def _commit() -> str:
    """Of this code; it may lie below a checkout that is not its own."""
    git = ("git", "-C", str(_ROOT))
    try:
        own = Path(__file__).relative_to(_ROOT)
        subprocess.run([*git, "ls-files", "--error-unmatch", str(own)], capture_output=True, check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *_ROOMS], check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return "commit not known"
    return f"commit {commit}{' with changes' if changed else ''}"
