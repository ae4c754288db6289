"""The pointer: a small file at a fixed place that says which store an extraction made, for pipelines to depend on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from .errors import StoreError
from .ledger import FOLDER, write_atomically


@dataclass(frozen=True)
class Pointer:
    """Where a complete store lies and what it held when the extraction ended.

    Attributes:
        store: The store's folder, relative to the pointer; empty for a split that the data set does not have.
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
    def read(cls, path: Path) -> Self:
        """Read a pointer.

        Raises:
            StoreError: There is none, or the file is something else.
        """
        try:
            return cls(**json.loads(path.read_bytes()))
        except OSError:
            raise StoreError(f"{path}: no feature store is there; run `spaceclip extract` to make it") from None
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path}: not a pointer to a feature store ({error}); give the store's folder") from error

    def means(self, fingerprint: str, samples: int, ledger: str | None) -> bool:
        """Whether it was written for this store; the ledger's digest is None while shards are missing."""
        return (self.fingerprint, self.samples) == (fingerprint, samples) and ledger in (None, self.ledger)

    def write(self, path: Path) -> None:
        """Write the pointer atomically."""
        write_atomically(path, self.to_json())

    def to_json(self) -> bytes:
        """The content of the pointer's file."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def resolve(path: Path) -> tuple[Path, Pointer | None]:
    """The store that a path means: a store, a pointer, or a folder that holds one pointer.

    Raises:
        StoreError: Nothing of the kind is there, or a folder holds several.
    """
    # A store that lost its `zarr.json` is known by its ledger.
    if path.is_dir() and not (path / "zarr.json").exists() and not (path / FOLDER).is_dir():
        pointers = sorted(found for found in path.glob("*.json"))
        if len(pointers) != 1:
            names = ", ".join(found.name for found in pointers) or "none"
            raise StoreError(f"{path}: a store or one pointer to it was expected, found {names}; name the one you mean")
        path = pointers[0]
    if path.is_dir():
        return path, None
    pointer = Pointer.read(path)
    if not pointer.store:
        raise StoreError(f"{path}: the data set has no {path.stem} split; give it one (`data`) and extract again")
    return path.parent / pointer.store, pointer
