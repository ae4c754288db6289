"""Problems, said in one line each."""

from collections.abc import Sequence
from pathlib import Path

_SHOWN = 3


def first_few(names: Sequence[object]) -> str:
    """Name the first few and count the rest.

    >>> first_few(["a.png", "b.png"])
    'a.png, b.png'
    >>> first_few("abcde")
    'a, b, c and 2 more'
    """
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    rest = len(names) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def counted(number: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "image"), counted(3, "image")
    ('1 image', '3 images')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def no_file(path: Path) -> str:
    """What is wrong with a path at which there is no file."""
    if path.is_dir():
        return "is a folder, expected a file"
    if path.exists():
        return "is no file but a pipe or a device, expected a file"
    return f"is a broken link to {path.readlink()}" if path.is_symlink() else "does not exist"


def missing_file(path: Path, name: object = "") -> str:
    """A path at which there is no file, or its name, with what is there if anything is."""
    there = path.is_symlink() or path.exists()
    return f"{name or path} ({no_file(path)})" if there else str(name or path)
