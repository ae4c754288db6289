"""The ledger: one record a shard, written after its data. What has no record was never written."""

import gc
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import StoreError

FOLDER = "ledger"

_SEAL = b',\n "sha256": "'


@dataclass(frozen=True, slots=True)
class Stored:
    """Size and SHA-256 of one stored object.

    The hash must not be a CRC-32C: each chunk ends with its own, which makes that of the whole blind to its content.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Quarantined:
    """A sample that could not be used: it keeps its row, which holds zeros.

    Attributes:
        row: Of the store.
        id: The sample's name.
        reason: What was wrong with it, in one line.
    """

    row: int
    id: str
    reason: str


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
        quarantined: Samples that could not be used, by row.
    """

    fingerprint: str
    shard: int
    start: int
    stop: int
    arrays: Mapping[str, Stored]
    statistics: Mapping[str, Mapping[str, float]]
    quarantined: tuple[Quarantined, ...] = ()

    @cached_property
    def content(self) -> bytes:
        """Canonical bytes of what the record says, which the ledger's digest is taken of."""
        fields = asdict(self)
        if not self.quarantined:
            # As records were before there was a quarantine, so that the digests of older stores hold.
            del fields["quarantined"]
        return json.dumps(fields, sort_keys=True, indent=1).encode()

    def to_json(self) -> bytes:
        """Bytes of the record's file: its content, sealed with the SHA-256 of it as the last field."""
        return self.content.removesuffix(b"\n}") + _SEAL + hashlib.sha256(self.content).hexdigest().encode() + b'"\n}'

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """Read the bytes of a record's file; one of an earlier version carries no seal.

        Raises:
            ValueError: The bytes are not a record, or not the ones that were sealed.
        """
        body, sealed, seal = text.rpartition(_SEAL)
        content = body + b"\n}" if sealed else text
        if sealed and seal != hashlib.sha256(content).hexdigest().encode() + b'"\n}':
            raise ValueError("it does not match its SHA-256")
        try:
            fields: dict[str, Any] = json.loads(content)
            fields["arrays"] = {name: Stored(**stored) for name, stored in fields["arrays"].items()}
            fields["quarantined"] = tuple(Quarantined(**sample) for sample in fields.get("quarantined", ()))
            record = cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a ledger record: {error}") from error
        # Making it anew would cost 0.3 ms, and 10,000 records are to open within a second.
        vars(record)["content"] = content
        return record


def hash_file(path: Path) -> Stored:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return Stored(bytes=os.fstat(file.fileno()).st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def record_path(store: Path, shard: int) -> Path:
    """Where the record of a shard lies."""
    return store / FOLDER / _record_name(shard)


def _record_name(shard: int) -> str:
    return f"{shard:06d}.json"


def commit(store: Path, record: Record) -> None:
    """Write a record; from then on its shard counts as written."""
    write_atomically(record_path(store, record.shard), record.to_json())


def read_ledger(store: Path, fingerprint: str) -> dict[int, Record]:
    """Every record of a store by shard.

    Raises:
        StoreError: A record is unreadable or belongs to another store.
    """
    records, damaged = scan_ledger(store, fingerprint)
    for path, reason in damaged.items():
        raise StoreError(
            f"{path}: the ledger record {reason}; run `spaceclip cache repair` on the store, then the same "
            "`spaceclip extract` to redo its shard"
        )
    return records


def scan_ledger(store: Path, fingerprint: str) -> tuple[dict[int, Record], dict[Path, str]]:
    """Every sound record of a store by shard, and what is wrong with each of the others by file."""
    records, damaged = {}, {}
    folder = store / FOLDER
    names = sorted(os.listdir(folder)) if folder.is_dir() else ()  # noqa: PTH208 - 10,000 Paths cost 0.4 s
    with _collector_paused():
        for name in names:
            if not name.endswith(".json"):
                continue
            try:
                record = Record.from_json(_content(f"{folder}/{name}"))
            except ValueError as error:
                damaged[folder / name] = f"is unreadable ({error})"
                continue
            if record.fingerprint != fingerprint or name != _record_name(record.shard):
                reason = f"says shard {record.shard} of store {record.fingerprint}, not of {fingerprint}"
                damaged[folder / name] = reason
            else:
                records[record.shard] = record
    return records, damaged


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Nothing of a ledger is garbage, and looking for some in a million objects takes a third of the reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - see above
        return file.read()


def ledger_digest(records: Mapping[int, Record]) -> str:
    """SHA-256 over all records in order: the identity of a store's content."""
    digest = hashlib.sha256()
    for shard in sorted(records):
        digest.update(records[shard].content)
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
