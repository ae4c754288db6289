"""Ids and scenes of listed samples."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ....cache import SpaceClipError
from ...problems import counted, first_few
from .manifest import Row


def sample_ids(rows: Sequence[Row]) -> list[str]:
    """The id each row gives, else its image's path without the suffix.

    Raises:
        SpaceClipError: Two samples have one id: all such ids counted, the first few named with both images.
    """
    ids = [row.id or PurePosixPath(row.image).with_suffix("").as_posix() for row in rows]
    owner: dict[str, str] = {}
    doubled: dict[str, str] = {}
    for row, name in zip(rows, ids, strict=True):
        if name in owner:
            doubled.setdefault(name, f"{name!r} ({owner[name]} and {row.image})")
        owner.setdefault(name, row.image)
    if doubled:
        raise SpaceClipError(
            f"{counted(len(doubled), 'id')} given to more than one sample: {first_few(list(doubled.values()))}; "
            "expected one name a sample: remove one, or name them in a list's `id` column"
        )
    return ids


def sample_scenes(rows: Sequence[Row], ids: Sequence[str], expression: str | None) -> list[str | None]:
    """The scene each row gives, else the expression's first group in the id, else the image's folder.

    Images at the top level have no scene unless an expression names it.

    Raises:
        SpaceClipError: The expression does not match some ids: all counted, the first few named.
    """
    scenes = [row.scene or _scene(row, name, expression) for row, name in zip(rows, ids, strict=True)]
    if expression is not None:
        unnamed = [name for name, scene in zip(ids, scenes, strict=True) if scene is None]
        if unnamed:
            raise SpaceClipError(
                f"the scene expression {expression!r} does not match {counted(len(unnamed), 'id')} of {len(ids)}: "
                f"{first_few(unnamed)}; expected its first group to name the scene"
            )
    return scenes


def _scene(row: Row, name: str, expression: str | None) -> str | None:
    if expression is not None:
        match = re.search(expression, name)
        return (match.group(1) or None) if match else None
    parent = PurePosixPath(row.image).parent.as_posix()
    return None if parent == "." else parent
