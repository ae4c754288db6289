"""Files below a data set's root, and a root that is given a level or two too high or too low."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ...problems import missing_file

_LEVELS = 2
_HUGE = 200
"""Folders with more entries hold data, not data sets; they are not searched."""


def find_file(root: Path, folders: Iterable[str], path: str) -> Path | None:
    """The file at a relative path in the first of several folders below root that has it."""
    candidates = (root / folder / path for folder in folders)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def seen_in(root: Path, folders: Iterable[str], path: str) -> str:
    """A relative path that is no file in any of several folders below root, with what is there if anything is."""
    found = (missing_file(root / folder / path, path) for folder in folders)
    return next((name for name in found if name != path), path)


def holds_any(root: Path, folders: Sequence[str], paths: Sequence[str]) -> bool:
    """Whether any of some relative paths is a file in one of several folders below root."""
    return any(find_file(root, folders, path) is not None for path in paths)


def find_level(root: Path, is_right: Callable[[Path], bool]) -> Path | None:
    """The first folder that is right, among two levels above root and two below.

    Args:
        root: A folder that is not right.
        is_right: Says whether a folder would be the right root.

    Returns:
        The folder, or None.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100, resolve() would name what links lead to
    return next((folder for folder in [*root.parents[:_LEVELS], *_below(root)] if is_right(folder)), None)


def _below(root: Path) -> Iterator[Path]:
    level = [root]
    for _ in range(_LEVELS):
        level = [child for folder in level for child in _children(folder)]
        yield from level


def _children(folder: Path) -> list[Path]:
    try:
        entries = list(islice(folder.iterdir(), _HUGE + 1))
        if len(entries) > _HUGE:
            return []
        return sorted(entry for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []
