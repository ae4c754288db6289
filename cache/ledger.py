"""The ledger: one record a shard, written after its data. What has no record was never written."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import StoreError

FOLDER = "ledger"


@dataclass(frozen=True)
class Stored:
    """Size and SHA-256 of one stored object.

    The hash must not be a CRC-32C: each chunk ends with its own, which makes that of the whole blind to its content.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What was committed for one shard. It holds no time and no host: doing the work twice gives the same record.

    Attributes:
        fingerprint: The store's.
        shard: Index of the shard.
        start: First row.
        stop: Row after the last.
        arrays: The stored object of each array.
        statistics: Mean, standard deviation, minimum, maximum and share of zeros of each hidden state.
    """

    fingerprint: str
    shard: int
    start: int
    stop: int
    arrays: Mapping[str, Stored]
    statistics: Mapping[str, Mapping[str, float]]

    def to_json(self) -> bytes:
        """Canonical bytes of the record."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """Read a record's bytes.

        Raises:
            ValueError: The bytes are not a record.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            fields["arrays"] = {name: Stored(**stored) for name, stored in fields["arrays"].items()}
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a ledger record: {error}") from error


def hash_file(path: Path) -> Stored:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return Stored(bytes=os.fstat(file.fileno()).st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def record_path(store: Path, shard: int) -> Path:
    """Where the record of a shard lies."""
    return store / FOLDER / f"{shard:06d}.json"


def commit(store: Path, record: Record) -> None:
    """Write a record; from then on its shard counts as written."""
    write_atomically(record_path(store, record.shard), record.to_json())


def read_ledger(store: Path, fingerprint: str) -> dict[int, Record]:
    """Every record of a store by shard.

    Raises:
        StoreError: A record is unreadable or belongs to another store.
    """
    records = {}
    for path in sorted((store / FOLDER).glob("*.json")):
        try:
            record = Record.from_json(path.read_bytes())
        except ValueError as error:
            raise StoreError(
                f"{path}: the ledger record is unreadable ({error}); delete it and extract again to redo its shard"
            ) from error
        if record.fingerprint != fingerprint or path.name != record_path(store, record.shard).name:
            raise StoreError(
                f"{path}: the ledger record says shard {record.shard} of store {record.fingerprint}, "
                f"store {fingerprint} was expected; delete it and extract again to redo its shard"
            )
        records[record.shard] = record
    return records


def ledger_digest(records: Mapping[int, Record]) -> str:
    """SHA-256 over all records in order: the identity of a store's content."""
    digest = hashlib.sha256()
    for shard in sorted(records):
        digest.update(records[shard].to_json())
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after the machine goes down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
