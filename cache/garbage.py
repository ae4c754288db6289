"""Stores that nothing refers to any more, and what killed runs left half made."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreError
from .ledger import scan_ledger
from .lock import only_writer
from .metadata import GROUP, read_attributes
from .pointer import Pointer

_PARTIAL = re.compile(r"\..+\.zarr\.(\d+)")
# Larger files are no pointers, and need not be read.
_POINTER_BYTES = 10_000


@dataclass(frozen=True)
class Garbage:
    """A folder that may go.

    Attributes:
        path: The folder.
        kind: `unreferred` (a store that no pointer means) or `partial` (left by a process that is dead).
        bytes: Its size.
        shards: Shards committed, where it is a store.
        total: Shards that it should have; more than are committed in one whose extraction was not finished.
    """

    path: Path
    kind: str
    bytes: int
    shards: int = 0
    total: int = 0


def find_garbage(folder: Path) -> list[Garbage]:
    """Look for garbage below a folder, following no links.

    A store is kept where a pointer below the folder names it or its fingerprint, or where the pointer that should is
    unreadable (`train.json` of `train-*.zarr`).

    Raises:
        StoreError: The folder does not exist, or is itself a store.
    """
    if not folder.is_dir() or (folder / GROUP).exists():
        raise StoreError(f"{folder}: a folder that holds stores was expected; give the one that --out named")
    stores, partial, referred = [], [], _Referred()
    for place, names, files in os.walk(folder):
        for name in [name for name in names if name.endswith(".zarr") or _PARTIAL.fullmatch(name)]:
            names.remove(name)
            path = Path(place, name)
            if not path.is_symlink():
                (partial if name.startswith(".") else stores).append(path)
        for name in files:
            if name.endswith(".json"):
                referred.add(Path(place, name))
    return [
        *(_described(store) for store in sorted(stores) if store not in referred),
        *(Garbage(path, "partial", _size(path)) for path in sorted(partial) if not _is_alive(path)),
    ]


def remove(garbage: Garbage, folder: Path) -> bool:
    """Remove a piece of garbage, if it still is some; False if it no longer is.

    It is first renamed to what a killed run leaves, so that nothing half deleted ever looks like a store.

    Args:
        garbage: As it was found.
        folder: Where it was found.

    Raises:
        StoreError: A run is writing the store.
    """
    path = garbage.path
    if garbage.kind == "partial":
        shutil.rmtree(path)
        return True
    with only_writer(path):
        if path not in [found.path for found in find_garbage(folder)]:
            return False
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        path.rename(aside)
    shutil.rmtree(aside)
    return True


class _Referred:
    """What the pointers mean: names, fingerprints, and the splits whose pointer is unreadable."""

    def __init__(self) -> None:
        self._stores: set[Path] = set()
        self._prints: set[str] = set()
        self._unreadable: list[Path] = []

    def add(self, file: Path) -> None:
        if file.lstat().st_size > _POINTER_BYTES:
            return
        try:
            pointer = Pointer.read(file)
        except StoreError:
            self._unreadable.append(file)
            return
        if pointer.store:
            self._stores.add(Path(os.path.normpath(file.parent / pointer.store)))
            self._prints.add(pointer.fingerprint)

    def __contains__(self, store: Path) -> bool:
        return (
            Path(os.path.normpath(store)) in self._stores
            or store.stem.rpartition("-")[2] in self._prints
            or any(file.parent == store.parent and store.name.startswith(f"{file.stem}-") for file in self._unreadable)
        )


def _described(store: Path) -> Garbage:
    try:
        attributes = read_attributes(store) or {}
        shards = len(scan_ledger(store, attributes["fingerprint"])[0])
        total = -(-attributes["identity"]["samples"]["count"] // attributes["identity"]["shard"])
    except (StoreError, KeyError):
        shards = total = 0
    return Garbage(store, "unreferred", _size(store), shards, total)


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _is_alive(partial: Path) -> bool:
    found = _PARTIAL.fullmatch(partial.name)
    try:
        os.kill(int(found[1]) if found else 0, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
