"""Encoders that come with the package."""

from pathlib import Path

from ...cache import SpaceClipError

EMBEDDED = "embedded:"

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
