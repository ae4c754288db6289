"""Growing without doing anything twice: what like stores hold is linked, whatever images, layers or views are new."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .layout import parts
from .ledger import Record, commit
from .like import LikeStore
from .location import Location
from .place import Stored, place_at
from .spec import StoreSpec
from .writer import StoreWriter


@dataclass
class Offer:
    """Parts of one shard that other stores hold.

    Attributes:
        record: What this shard's record will say of them.
        sources: Store and key of each part.
    """

    record: Record
    sources: dict[str, tuple[Location, str]] = field(default_factory=dict)


def offers(spec: StoreSpec, pending: Iterable[int], others: Sequence[LikeStore]) -> dict[int, Offer]:
    """Parts of shards that other stores hold, of the very same samples in the same places, all sound.

    Args:
        spec: What the store holds.
        pending: The shards that it lacks.
        others: Stores made alike.

    Returns:
        What was found, by shard; with all parts of the shard or some.
    """
    wanted, found = set(pending), {}
    for other in others:
        for shard in sorted(wanted & other.records.keys()):
            record, rows = other.records[shard], slice(*spec.rows(shard))
            aligned = (record.start, record.stop) == spec.rows(shard)
            if aligned and not record.quarantined and other.entries[rows] == list(spec.entries[rows]):
                sources = {name: (other.path, other.parts[name].key(shard)) for name in record.objects}
                _add(spec, found, shard, record, sources)
    return found


def adopt(writer: StoreWriter, offered: Mapping[int, Offer]) -> dict[int, Record]:
    """Link what was offered into a store, each object hashed first, and commit the shards that are whole by it.

    In a bucket objects are copied by the provider. Where neither can be done a part is left to be computed.

    Returns:
        By shard that is not whole, the record of the parts that it has now; the others are pending.
    """
    mine, kept = parts(writer.spec), {}
    for shard, offer in offered.items():
        names = {
            name
            for name, source in offer.sources.items()
            if _take(writer, mine[name].key(shard), source, offer.record.objects[name])
        }
        record = _only(offer.record, names)
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


def known_rows(spec: StoreSpec, shards: Iterable[int], others: Sequence[LikeStore]) -> dict[int, tuple[Location, int]]:
    """Rows of shards that other stores hold in other places, with all parts: store and row there.

    This is what is left of a store after images were added or taken away in the middle of its list.
    """
    names = parts(spec).keys()
    donors = [other for other in others if names <= other.parts.keys()]
    found = {}
    for shard in shards if donors else ():
        for row in range(*spec.rows(shard)):
            for donor in donors:
                if (there := donor.rows.get(spec.entries[row])) is not None:
                    found[row] = (donor.path, there)
                    break
    return found


def _add(
    spec: StoreSpec, found: dict[int, Offer], shard: int, record: Record, sources: Mapping[str, tuple[Location, str]]
) -> None:
    """Take from a store what no store before it had."""
    offer = found.get(shard) or Offer(Record(spec.fingerprint, shard, record.start, record.stop, {}, {}))
    new = {name for name in parts(spec).keys() & sources.keys() if name not in offer.sources}
    if new:
        gained = _only(record, new)
        offer.record = Record(
            *(spec.fingerprint, shard, record.start, record.stop),
            {**offer.record.objects, **gained.objects},
            {**offer.record.statistics, **gained.statistics},
        )
        offer.sources |= {name: sources[name] for name in new}
        found[shard] = offer


def _take(writer: StoreWriter, key: str, source: tuple[Location, str], wanted: Stored) -> bool:
    store, there = source
    try:
        # What is damaged there must not come back here.
        return place_at(store).stored(there) == wanted and writer.place.take(key, store, there)
    except OSError:
        return False


def _only(record: Record, names: set[str]) -> Record:
    return Record(
        *(record.fingerprint, record.shard, record.start, record.stop),
        {name: stored for name, stored in record.objects.items() if name in names},
        {name: told for name, told in record.statistics.items() if name in names},
    )
