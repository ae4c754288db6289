"""The ledger: one record a shard, written after its data. What has no record was never written."""

import gc
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from ..errors import StoreError
from ..places.place import Place, Stored
from .arrays import identity_parts
from .parsing import parse_json

FOLDER = "ledger"

_SEAL = b',\n"sha256":"'
_LATER = ("statistics", "checksums", "contents")


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
        objects: The stored object of each part (`layers/3/flipped`).
        statistics: Mean, standard deviation, minimum, maximum and share of zeros of each part that is a hidden state;
            median, minimum and maximum of `depth` in metres. Quarantined samples are left out.
        quarantined: Samples that could not be used, by row.
        checksums: By part, the CRC-32C of each row's chunk as it is stored, 8 hexadecimal digits a row. The one that a
            chunk itself ends with says that it is whole; this one says that it is the chunk of this row and part.
        contents: By part, for `image` and `depth`, a hash of each row's values, 16 hexadecimal digits a row: the same
            for one picture in two files.
    """

    fingerprint: str
    shard: int
    start: int
    stop: int
    objects: Mapping[str, Stored]
    statistics: Mapping[str, Mapping[str, float]]
    quarantined: tuple[Quarantined, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)

    def only(self, parts: Collection[str]) -> Self:
        """What it says of some parts."""
        return replace(self, **{name: {part: of[part] for part in of if part in parts} for name, of in self._by_part})

    def plus(self, other: Self) -> Self:
        """With what another record says of its parts."""
        return replace(self, **{name: {**of, **getattr(other, name)} for name, of in self._by_part})

    def row_checksums(self, part: str) -> bytes:
        """The last 4 bytes of each row's chunk of a part, one after the other."""
        return bytes.fromhex(self.checksums[part])

    @property
    def _by_part(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return ((name, getattr(self, name)) for name in ("objects", *_LATER))

    @cached_property
    def content(self) -> bytes:
        """Canonical bytes of what the record says, which the ledger's digest is taken of."""
        fields = {
            "fingerprint": self.fingerprint,
            "shard": self.shard,
            "start": self.start,
            "stop": self.stop,
            "quarantined": [asdict(sample) for sample in self.quarantined],
            **{name: dict(sorted(of.items())) for name, of in self._by_part},
        }
        lines = [f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in fields.items()]
        return ("{" + ",\n".join(lines) + "\n}").encode()

    def to_json(self) -> bytes:
        """Bytes of the record's file: its content, sealed with the SHA-256 of it as the last field."""
        return self.content.removesuffix(b"\n}") + _SEAL + hashlib.sha256(self.content).hexdigest().encode() + b'"\n}'

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """Read the bytes of a record's file.

        Raises:
            ValueError: The bytes are not a record, or not the ones that were sealed.
        """
        body, _, seal = text.rpartition(_SEAL)
        content = body + b"\n}"
        if seal != hashlib.sha256(content).hexdigest().encode() + b'"\n}':
            raise ValueError("it does not match its SHA-256")
        try:
            pieces = []
            for name in _LATER:
                piece, _, body = body.partition(b',\n"%b":' % name.encode())
                pieces.append(piece)
            if not body:
                raise ValueError(f"not a ledger record: it lacks {' or '.join(_LATER)}")
            fields = parse_json(pieces[0] + b"}")
            fields["objects"] = {name: Stored(*stored) for name, stored in fields["objects"].items()}
            fields["quarantined"] = tuple(Quarantined(**sample) for sample in fields["quarantined"])
            fields |= {name: _Later(text) for name, text in zip(_LATER, [*pieces[1:], body], strict=True)}
            record = cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a ledger record: {error}") from error
        # Making it anew would cost 0.3 ms, and 10,000 records are to open within a second.
        vars(record)["content"] = content
        return record


class _Later(Mapping[str, Any]):
    """An object of JSON that is parsed when it is asked for: most of a record is seldom needed."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    @cached_property
    def _read(self) -> dict[str, Any]:
        return parse_json(self._text)

    def __getitem__(self, name: str) -> Any:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


def expected_objects(identity: Mapping[str, Any], records: Mapping[int, Record]) -> dict[str, Stored]:
    """Size and hash of each object of a store by its key."""
    parts = identity_parts(identity)
    return {
        parts[name].key(shard): stored for shard, record in records.items() for name, stored in record.objects.items()
    }


def record_key(shard: int) -> str:
    """Key of the record of a shard below its store."""
    return f"{FOLDER}/{shard:06d}.json"


def commit(place: Place, record: Record) -> None:
    """Write a record; from then on its shard counts as written."""
    place.write(record_key(record.shard), record.to_json())


def read_ledger(place: Place, fingerprint: str) -> dict[int, Record]:
    """Every record of a store by shard.

    Raises:
        StoreError: A record is unreadable or belongs to another store.
    """
    records, damaged = scan_ledger(place, fingerprint)
    for key, reason in damaged.items():
        raise StoreError(
            f"{place.location}/{key}: the ledger record {reason}; run `spaceclip cache repair` on the store, then the "
            "same `spaceclip extract` to redo its shard"
        )
    return records


def scan_ledger(place: Place, fingerprint: str) -> tuple[dict[int, Record], dict[str, str]]:
    """Every sound record of a store by shard, and what is wrong with each of the others by key."""
    keys = [f"{FOLDER}/{name}" for name in place.names(FOLDER) if name.endswith(".json") and not name.startswith(".")]
    contents = place.read_all(keys)
    # Closed at once whatever happens: one left open in a traceback goes on reading, and waiting for what does not come.
    with _collector_paused(), closing(contents):
        return _sorted_out(keys, contents, fingerprint)


def _sorted_out(
    keys: Sequence[str], contents: Iterator[bytes | OSError], fingerprint: str
) -> tuple[dict[int, Record], dict[str, str]]:
    records, damaged = {}, {}
    for key, content in zip(keys, contents, strict=True):
        if isinstance(content, OSError):
            raise content
        try:
            record = Record.from_json(content)
        except ValueError as error:
            damaged[key] = f"is unreadable ({error})"
            continue
        if record.fingerprint != fingerprint or key != record_key(record.shard):
            damaged[key] = f"says shard {record.shard} of store {record.fingerprint}, not of {fingerprint}"
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


def ledger_digest(records: Mapping[int, Record]) -> str:
    """SHA-256 over all records in order: the identity of a store's content."""
    digest = hashlib.sha256()
    for shard in sorted(records):
        digest.update(records[shard].content)
    return digest.hexdigest()
