"""Growing without computing twice: what compatible stores hold is linked, whatever images, layers or views are new."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..format.arrays import ArrayLayout, Part, identity_parts, parts
from ..format.identity import Entry, StoreSpec
from ..format.ledger import Record, commit, scan_ledger
from ..format.metadata import read_attributes, read_samples
from ..places.folder import begun_name
from ..places.location import Location, Url
from ..places.opening import place_at
from ..places.place import Stored
from ..writer import StoreWriter, connections

# What may differ between compatible stores: it decides which parts and rows there are, and not the bytes of any part
# that both hold in one shape. Of what computed them the batch may differ.
_GROWING = {"samples", "layers", "views", "computed"}


@dataclass(frozen=True)
class CompatibleStore:
    """A store that differs in its samples, layers, views, batch, or the room for ground truth and counts at most.

    Attributes:
        path: Where it lies.
        identity: The store's.
        entries: Its samples.
        records: Its ledger.
    """

    path: Location
    identity: Mapping[str, Any]
    entries: list[Entry]
    records: Mapping[int, Record]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Its parts by name."""
        return identity_parts(self.identity)

    def shared(self, parts: Mapping[str, Part]) -> set[str]:
        """Names of those parts of a compatible store that this one holds with the same bytes for the same rows."""
        return {
            name
            for name, part in parts.items()
            if name in self.parts and _kept_alike(self.parts[name].layout, part.layout)
        }

    @cached_property
    def rows(self) -> dict[Entry, int]:
        """Rows of committed samples that are sound."""
        bad = {sample.row for record in self.records.values() for sample in record.quarantined}
        there = (row for record in self.records.values() for row in range(record.start, record.stop))
        return {self.entries[row]: row for row in there if row not in bad}


@dataclass
class SharedParts:
    """Parts of one shard that other stores hold.

    Attributes:
        record: What this shard's record will say of them.
        sources: Store and key of each part.
    """

    record: Record
    sources: dict[str, tuple[Location, str]] = field(default_factory=dict)


def compatible_stores(spec: StoreSpec, others: Iterable[Location]) -> list[CompatibleStore]:
    """Those of some stores that are compatible; damaged ones, and those of other settings, are passed over."""
    found = []
    for path in sorted(others, key=str):
        place = place_at(path)
        try:
            attributes = read_attributes(place)
            if attributes is None or _fixed(attributes["identity"]) != _fixed(spec.identity):
                continue
            entries = read_samples(place, attributes["identity"])
            records = scan_ledger(place, attributes["fingerprint"])[0]
        except (StoreError, OSError):
            continue
        found.append(CompatibleStore(path, attributes["identity"], entries, records))
    return found


def shared_parts(spec: StoreSpec, pending: Iterable[int], others: Sequence[CompatibleStore]) -> dict[int, SharedParts]:
    """Parts of shards that other stores hold, of the very same samples in the same rows, all sound.

    Args:
        spec: What the store holds.
        pending: The shards that it lacks.
        others: Compatible stores.

    Returns:
        What was found, by shard; with all parts of the shard or some.
    """
    wanted, mine = set(pending), parts(spec)
    found: dict[int, SharedParts] = {}
    for other in others:
        shared = other.shared(mine)
        for shard in sorted(wanted & other.records.keys()):
            record, (start, stop) = other.records[shard], spec.rows(shard)
            if (record.start, record.stop) != (start, stop) or record.quarantined:
                continue
            if other.entries[start:stop] != list(spec.entries[start:stop]):
                continue
            parts_of = found.setdefault(shard, SharedParts(Record(spec.fingerprint, shard, start, stop, {}, {})))
            new = (record.objects.keys() & shared) - parts_of.sources.keys()
            parts_of.record = parts_of.record.plus(record.only(new))
            parts_of.sources |= {name: (other.path, other.parts[name].key(shard)) for name in new}
    return {shard: parts_of for shard, parts_of in found.items() if parts_of.sources}


def link_parts(writer: StoreWriter, found: Mapping[int, SharedParts]) -> dict[int, Record]:
    """Link what other stores hold into a store, each object hashed, and commit the shards that are whole by it.

    In a bucket objects are copied by the provider. Where neither can be done a part is left to be computed, and so is
    one that turns out not to be what its record says.

    Returns:
        By shard that is not whole, the record of the parts that it has now; the others are pending.
    """
    mine, kept = parts(writer.spec), {}
    with ThreadPoolExecutor(connections(writer.path), thread_name_prefix="link") as pool:
        for shard, shared in found.items():
            names = _linked(writer, {name: mine[name].key(shard) for name in shared.sources}, shared, pool)
            record = shared.record.only(names)
            if names == mine.keys():
                writer.still_ours()
                commit(writer.place, record)
                writer.records[shard] = record
            elif names:
                kept[shard] = record
    return kept


def missing_parts(spec: StoreSpec, kept: Record | None) -> set[str]:
    """Names of the parts of a shard that it does not have yet."""
    return set(parts(spec)) - (kept.objects.keys() if kept else set())


def shared_rows(
    spec: StoreSpec, shards: Iterable[int], others: Sequence[CompatibleStore]
) -> dict[int, tuple[Location, int]]:
    """Rows of shards that other stores hold in other rows, with all parts: store and row there.

    This is what is left of a store after images were added or taken away in the middle of its list.
    """
    mine = parts(spec)
    donors = [other for other in others if other.shared(mine) == mine.keys()]
    found = {}
    for shard in shards if donors else ():
        for row in range(*spec.rows(shard)):
            for donor in donors:
                if (there := donor.rows.get(spec.entries[row])) is not None:
                    found[row] = (donor.path, there)
                    break
    return found


def _kept_alike(one: ArrayLayout, other: ArrayLayout) -> bool:
    return (one.row, one.dtype) == (other.row, other.dtype)


def _fixed(identity: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {name: value for name, value in identity.items() if name not in _GROWING}
    # The largest ground truth decides how all are padded, and the widest counts how all depth is kept.
    depth = identity["depth"] and {**identity["depth"], "native": None, "counts": None}
    return fixed | {"depth": depth, "device": identity["computed"].get("device")}


def _linked(writer: StoreWriter, keys: Mapping[str, str], shared: SharedParts, pool: Executor) -> set[str]:
    """Link the parts of a shard; the names of those that are here then, under their keys."""

    def link(name: str) -> bool:
        return _link(writer, keys[name], shared.sources[name], shared.record.objects[name])

    return {name for name, done in zip(keys, pool.map(link, keys), strict=True) if done}


def _link(writer: StoreWriter, key: str, source: tuple[Location, str], wanted: Stored) -> bool:
    """Link an object and hash it where it came to lie: in the other store it may be replaced at any time."""
    place, (store, there) = writer.place, source
    try:
        if isinstance(writer.path, Url):
            return place.take(key, store, there) and place.stored(key) == wanted
        if _is_linked(writer.path / key, store, there, wanted.bytes):
            return True
        # Until it is hashed; swept up when the run is killed.
        folder, _, name = key.rpartition("/")
        landed = f"{folder}/{begun_name(name)}"
        try:
            sound = place.take(landed, store, there) and place.stored(landed) == wanted
            return sound and place.take(key, writer.path, landed)
        finally:
            place.delete(landed)
    except OSError:
        return False


def _is_linked(file: Path, store: Location, there: str, size: int) -> bool:
    """Whether an object of another store was linked here by an earlier run, and so was hashed."""
    return isinstance(store, Path) and file.exists() and file.stat().st_size == size and file.samefile(store / there)
