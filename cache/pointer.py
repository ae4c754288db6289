"""The pointer: a small file at a fixed place that says which store an extraction made, for pipelines to depend on."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from .errors import StoreError, UnreadableError
from .format.ledger import FOLDER
from .format.parsing import parse_json
from .places.location import Location, Url, locate
from .places.opening import place_at
from .places.project import in_project

SUFFIX = ".json"
MOST_BYTES = 10_000
"""Of a pointer's file."""
# Names of pointers that say what a store is used as.
_ROLES = ("train", "val", "test")


@dataclass(frozen=True)
class Pointer:
    """Where a complete store lies and what it held when the extraction ended.

    Attributes:
        store: The store, relative to the pointer's place in the project (see `project_root`) or a URL; empty for a
            split that the data set does not have. A pointer that a copy of the checkout writes is the same file.
        fingerprint: The store's.
        samples: Number of rows.
        ledger: Digest of its ledger.
    """

    store: str
    fingerprint: str
    samples: int
    ledger: str

    @classmethod
    def absent(cls) -> Self:
        """For a split that the data set does not have, so that a pipeline finds the same files whatever the data."""
        return cls("", "", 0, "")

    @classmethod
    def to(cls, store: Location, at: Location, fingerprint: str, samples: int, ledger: str) -> Self:
        """For a store, to be written at a location: relative to it, where both are of one kind.

        Links on the way to either are followed first, as `..` in a path goes up from where a link leads.
        """
        if isinstance(store, Url) and store.parent == at.parent:
            return cls(store.name, fingerprint, samples, ledger)
        if isinstance(store, Url) or isinstance(at, Url):
            return cls(str(store), fingerprint, samples, ledger)
        folder = Path(os.path.realpath(store.parent))
        start = at if folder.is_relative_to(Path.cwd()) else in_project(at)
        return cls(os.path.relpath(folder / store.name, os.path.realpath(start.parent)), fingerprint, samples, ledger)

    @classmethod
    def of(cls, content: bytes) -> Self:
        """From the content of a pointer's file.

        Raises:
            ValueError: It is something else.
        """
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        fields = parse_json(content)
        kinds = {"store": str, "fingerprint": str, "samples": int, "ledger": str}
        if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != kinds:
            raise ValueError(f"expected {', '.join(kinds)}")
        if b"\0" in os.fsencode(fields["store"]):
            raise ValueError("its path holds a zero byte")
        return cls(**fields)

    @classmethod
    def read(cls, path: Location) -> Self:
        """Read a pointer.

        Raises:
            StoreError: There is none, or the file is something else.
        """
        try:
            return cls.of(place_at(path.parent).read_end(path.name, MOST_BYTES + 1))
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{path}: no feature store is there; run `spaceclip extract` to make it") from None
        except OSError as error:
            raise UnreadableError.of(path, error) from error
        except ValueError as error:
            raise StoreError(f"{path}: not a pointer to a feature store ({error}); give the store's folder") from error

    def matches(self, fingerprint: str, samples: int, ledger: str | None) -> bool:
        """Whether it was written for this store; the ledger's digest is None while shards are missing."""
        return (self.fingerprint, self.samples) == (fingerprint, samples) and ledger in (None, self.ledger)

    def write(self, path: Location) -> None:
        """Write the pointer atomically."""
        place_at(path.parent).write(path.name, self.to_json())

    def to_json(self) -> bytes:
        """The content of the pointer's file."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    def target(self, path: Location) -> Location:
        """The store that a pointer which lies at `path`, or where a link there leads, points to."""
        store = locate(self.store)
        if isinstance(store, Url) or store.is_absolute():
            return store
        if isinstance(path, Url):
            return path.parent / self.store
        # Beside the pointer, or where a link to it leads, or in the checkout that a working folder is a copy of.
        places = [place.parent / self.store for place in (path, Path(os.path.realpath(path)), in_project(path))]
        found = next(filter(os.path.exists, places), places[0])
        # Without `..`, for messages; behind a link, what `..` leaves is not what the path says.
        short = Path(os.path.normpath(found))
        return short if os.path.realpath(short) == os.path.realpath(found) else found


class Resolved(NamedTuple):
    """What a location means.

    Attributes:
        store: Where the store lies.
        pointer: The pointer to it, where one was followed.
        file: Where that lies.
    """

    store: Location
    pointer: Pointer | None = None
    file: Location | None = None

    def require_role(self, about: Mapping[str, Any]) -> None:
        """Refuse a pointer that is named for another split than the store was extracted as.

        Raises:
            StoreError: It is.
        """
        split = about.get("split")
        if self.file is not None and self.file.stem != split and {self.file.stem, split} <= set(_ROLES):
            raise StoreError(
                f"{self.file}: is named for the {self.file.stem} split and points to the {split} split ({self.store}); "
                f"put each pointer back under its own name, or run `spaceclip extract` again"
            )


def resolve(where: str | Location) -> Resolved:
    """The store that a location means: a store, a pointer, or a folder that holds one pointer.

    Raises:
        StoreError: Nothing of the kind is there, or a folder holds several.
    """
    location = locate(where)
    try:
        names = None if _is_pointer(location) else place_at(location).names()
    except OSError as error:
        raise UnreadableError.of(location, error) from error
    if names is not None:
        # A store that lost its `zarr.json` is known by its ledger.
        if "zarr.json" in names or FOLDER in names:
            return Resolved(_named(location))
        pointers = [name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]
        if not names and not (isinstance(location, Path) and location.is_dir()):
            raise StoreError(f"{location}: no feature store is there; run `spaceclip extract` to make it")
        if len(pointers) != 1:
            found = ", ".join(pointers) or "none"
            raise StoreError(
                f"{location}: a store or one pointer to it was expected, found {found}; name the one you mean"
            )
        location = location / pointers[0]
    pointer = Pointer.read(location)
    if not pointer.store:
        raise StoreError(
            f"{location}: the data set has no {location.stem} split; give it one (`data`) and extract again"
        )
    return Resolved(pointer.target(location), pointer, location)


def _named(location: Location) -> Location:
    """A path with a name of its own, which `.` and `..` have not; any other stays as the user wrote it."""
    if isinstance(location, Path) and location.name in ("", ".."):
        return location.resolve()
    return location


def _is_pointer(location: Location) -> bool:
    if isinstance(location, Path) and location.exists():
        return not location.is_dir()
    return location.name.endswith(SUFFIX)
