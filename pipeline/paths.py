"""Paths as a user names them: sought before anything heavy is imported, or tried before anything long is begun."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

if TYPE_CHECKING:
    from ..cache import Location

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PRESENT = click.Path(exists=True, path_type=Path)
NEW = click.Path(path_type=Path)


class _Location(click.ParamType):
    """A path, or the URL of a place in an object store."""

    name = "path or URL"

    def __init__(self, *, exists: bool) -> None:
        self.exists = exists

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Location":
        from ..cache import locate

        found = locate(value)
        if self.exists and isinstance(found, Path) and not found.exists():
            self.fail(f"{found}: no feature store is there; run `spaceclip extract` to make it", param, ctx)
        return found


FEATURES = _Location(exists=True)
LOCATION = _Location(exists=False)


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
        from ..cache import SpaceClipError

        where = "" if present == folder.absolute() else f"{present}: "
        raise SpaceClipError(
            f"{folder}: cannot be written ({where}{error.strerror}); choose another folder with --out, or mend that one"
        ) from error
