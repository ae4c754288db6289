"""Stores that no pointer points to any more, and what killed runs left half made; in a folder or a bucket."""

import json
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..encoder_rate import forget_rate
from ..errors import StoreError
from ..format.ledger import FOLDER
from ..format.metadata import ATTRIBUTE, GROUP, SAMPLES
from ..looks import forget_looks
from ..places.folder import is_begun
from ..places.location import Location
from ..places.lock import only_writer
from ..places.opening import place_at
from ..places.place import Place
from ..places.project import features_folders
from .references import STORE, References, below

# Names in a store, of any format so far.
_OURS = {GROUP, SAMPLES, FOLDER, "layers", "scales", "pooled", "image", "depth", "ground_truth", "ground_truth_size"}
# No file takes an hour to be whole.
_STALE_SECONDS = 3600
_THREADS = 32
# Objects deleted between two looks at whether the store is still ours.
_BLOCK = 256


@dataclass(frozen=True)
class Garbage:
    """What may go.

    Attributes:
        path: A store, what was to be one, or a file that was begun.
        kind: `unreferenced` (a whole store that no pointer points to), `unfinished` (one that lacks shards, or whose
            description is damaged: the same extraction goes on with it) or `partial` (left by a run that was killed,
            and of no use).
        bytes: Its size.
        shards: Shards committed, where it is a store.
        total: Shards that it should have; 0 where that is not known.
    """

    path: Location
    kind: str
    bytes: int
    shards: int = 0
    total: int = 0


def find_garbage(folder: Location, pointers: Sequence[Location] = ()) -> list[Garbage]:
    """Look for garbage below a folder; what links lead to is none. What is a Zarr group of others is passed over.

    A store is kept where a pointer, there or where links lead, points to it, or to its fingerprint at a place where no
    store is; or where the pointer that should is unreadable (`train.json` of `train-*.zarr`). The project's own
    pointers always count, in its `features` and in those of the copies that DVC runs experiments in.

    Args:
        folder: Where stores lie.
        pointers: Folders of pointers, beside those below `folder` and the project's.

    Raises:
        StoreError: The folder is not there, is itself a store, or cannot be read; a folder of `pointers` has none, or
            there is none at all: then every store would look like garbage.
    """
    with _said_plainly(folder):
        found = list(below(folder)) if not isinstance(folder, Path) or folder.is_dir() else []
        if folder / GROUP in found or not (found or (isinstance(folder, Path) and folder.is_dir())):
            raise StoreError(f"{folder}: a folder that holds stores was expected; give the one that --out named")
        stores = [path for path in found if path.name.endswith(STORE)]
        references = _references(folder, pointers)
        judged = {store: _judged(store, references) for store in stores}
        if any(garbage.kind != "unfinished" for garbage in judged.values() if garbage):
            _require_pointers(folder, pointers)
        begun = [_stale(file) for file in found]
        for store, garbage in judged.items():
            if garbage is None and isinstance(store, Path):
                begun += [_stale(file) for file in sorted(store.rglob(".*"))]
    return [*filter(None, judged.values()), *filter(None, begun)]


def remove(garbage: Garbage, folder: Location, pointers: Sequence[Location] = ()) -> bool:
    """Remove a piece of garbage, if it still is some; False if it no longer is.

    Args:
        garbage: As it was found.
        folder: Where it was found.
        pointers: With what it was found.

    Raises:
        StoreError: A run is writing the store, something cannot be read or removed, or no pointer is found.
    """
    path = garbage.path
    store = next((above for above in (path, *_parents(path)) if above.name.endswith(STORE)), None)
    with _said_plainly(path):
        if store is None:
            place_at(path.parent).delete(path.name)
            return True
        with only_writer(store) as still_ours:
            if store != path:
                place_at(path.parent).delete(path.name)
                return True
            _require_pointers(folder, pointers)
            now = _judged(store, _references(folder, pointers))
            if now is None or now.kind != garbage.kind:
                return False
            _delete(store, still_ours)
    return True


def _judged(store: Location, references: References) -> Garbage | None:
    """What a store is if no pointer points to it; None for one that is in use, or is none of ours."""
    place = place_at(store)
    names = {name for name in place.names() if not is_begun(name)}
    described = _described(place) if GROUP in names else {}
    if references.include(store, described.get("fingerprint")) or (isinstance(store, Path) and not store.is_dir()):
        return None
    if not described and not names <= _OURS:
        return None
    size = sum(bytes_ for _, bytes_ in place.walk())
    if GROUP not in names:
        # The list of samples is the first of a store to come and the last to go.
        return Garbage(store, "partial", size) if SAMPLES in names or not size else None
    if not described:
        return Garbage(store, "unfinished", size) if names >= {SAMPLES, FOLDER} else None
    shards = sum(name.endswith(".json") and not name.startswith(".") for name in place.names(FOLDER))
    return Garbage(
        store, "unreferenced" if shards >= described["total"] else "unfinished", size, shards, described["total"]
    )


def _described(place: Place) -> dict[str, Any]:
    """Fingerprint of a store of any format and number of its shards; nothing where its description is damaged."""
    try:
        attributes = json.loads(place.read(GROUP))["attributes"][ATTRIBUTE]
        identity = attributes["identity"]
        return {
            "fingerprint": str(attributes["fingerprint"]),
            "total": -(-identity["samples"]["count"] // identity["shard"]),
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, ArithmeticError):
        return {}


def _delete(store: Location, still_ours: Callable[[], None]) -> None:
    """Delete a store, in an order that leaves no lie whenever it ends.

    Its description first: from then on it is no store, but what the next `gc` knows for a rest. The records next,
    before any of what they vouch for: an extraction that then makes the same store anew believes those that it finds.
    The list of samples last, as the rest is known by it.
    """
    place = place_at(store)
    forget_rate(store)
    forget_looks(store)
    with ThreadPoolExecutor(_THREADS) as pool:
        still_ours()
        place.delete(GROUP)
        for part in (FOLDER, ""):
            keys = [key for key, _ in place.walk(part) if key != SAMPLES]
            for start in range(0, len(keys), _BLOCK):
                still_ours()
                list(pool.map(place.delete, keys[start : start + _BLOCK]))
    still_ours()
    place.delete(SAMPLES)
    if isinstance(store, Path):
        shutil.rmtree(store)


def _stale(file: Location) -> Garbage | None:
    """A file that a killed run began."""
    if not isinstance(file, Path) or not is_begun(file.name):
        return None
    try:
        found = file.lstat()
    except FileNotFoundError:
        # A run is writing it, and just gave it its real name.
        return None
    stale = stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > _STALE_SECONDS
    return Garbage(file, "partial", found.st_size) if stale else None


def _parents(path: Location) -> Sequence[Location]:
    return path.parents if isinstance(path, Path) else ()


def _references(folder: Location, pointers: Sequence[Location]) -> References:
    return References(folder, *pointers, *features_folders())


def _require_pointers(folder: Location, pointers: Sequence[Location]) -> None:
    for given in pointers:
        if not References(given):
            raise StoreError(f"{given}: no pointer to a store is there; give the folder that holds train.json")
    # The project's own are not enough: a folder elsewhere may hold the stores of many.
    if not pointers and not References(folder):
        raise StoreError(
            f"{folder}: holds stores and no pointer to any, so that all would look unused; give the folder of their "
            "pointers (--pointers)"
        )


@contextmanager
def _said_plainly(where: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or where}: {error.strerror or error}; mend that, then run the same command again"
        ) from error
