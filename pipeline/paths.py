"""Output folders, tried before long work instead of after it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache import SpaceClipError

if TYPE_CHECKING:
    from ..cache import Location


def require_writable(folder: "Location") -> None:
    """Refuse an output folder in which no file can be made; nothing is left behind, and the folder is not made either.

    The answer comes from writing, since permission bits say nothing of root, read-only disks and network mounts. A
    bucket is not asked.

    Raises:
        SpaceClipError: Names the folder and the reason.
    """
    if not isinstance(folder, Path):
        return
    present = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        where = "" if present == folder.absolute() else f"{present}: "
        raise SpaceClipError(
            f"{folder}: cannot be written ({where}{error.strerror}); choose another folder with --out, or mend that one"
        ) from error
