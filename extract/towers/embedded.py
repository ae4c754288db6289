"""Encoders that come with the package."""

import hashlib
from pathlib import Path

from ...cache import SpaceClipError

EMBEDDED = "embedded:"
WEIGHTS, CHECKSUM = "model.safetensors", "model.safetensors.sha256"

_FOLDERS = {"clip-tiny": Path(__file__).parent.parent / "clip_tiny" / "weights"}


def embedded_folder(name: str) -> str:
    """Where the encoder `embedded:<name>` lies; any other name is given back as it is.

    Raises:
        SpaceClipError: No encoder of that name comes with the package.
    """
    if not name.startswith(EMBEDDED):
        return name
    if (folder := _FOLDERS.get(name.removeprefix(EMBEDDED))) is None:
        known = ", ".join(EMBEDDED + each for each in _FOLDERS)
        raise SpaceClipError(f"backbone {name}: no such encoder comes with SpaceCLIP; choose {known}")
    return str(folder)


def require_unaltered(name: str, folder: Path) -> None:
    """Refuse weights that are not those that came with the package.

    Raises:
        SpaceClipError: Names the file, and the hashes found and expected.
    """
    file, (expected, _) = folder / WEIGHTS, (folder / CHECKSUM).read_text().split()
    found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none"
    if found != expected:
        raise SpaceClipError(
            f"backbone {name}: {file} is not the file that comes with SpaceCLIP (SHA-256 {found[:16]}, expected "
            f"{expected[:16]}); install SpaceCLIP again"
        )
