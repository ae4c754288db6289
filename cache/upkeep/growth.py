"""Growing without doing anything twice: what like stores hold is linked, whatever images, layers or views are new."""

from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..format.arrays import parts
from ..format.identity import StoreSpec
from ..format.ledger import Record, commit
from ..places.folder import begun_name
from ..places.location import Location, Url
from ..places.place import Stored
from ..writer import StoreWriter, connections
from .alike import LikeStore


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
    wanted, found, mine = set(pending), {}, parts(spec)
    for other in others:
        shared = other.shared(mine)
        for shard in sorted(wanted & other.records.keys()):
            record, rows = other.records[shard], slice(*spec.rows(shard))
            aligned = (record.start, record.stop) == spec.rows(shard)
            if aligned and not record.quarantined and other.entries[rows] == list(spec.entries[rows]):
                sources = {
                    name: (other.path, other.parts[name].key(shard)) for name in record.objects if name in shared
                }
                _add(spec, found, shard, record, sources)
    return found


def adopt(writer: StoreWriter, offered: Mapping[int, Offer]) -> dict[int, Record]:
    """Link what was offered into a store, each object hashed, and commit the shards that are whole by it.

    In a bucket objects are copied by the provider. Where neither can be done a part is left to be computed, and so is
    one that turns out not to be what its record says.

    Returns:
        By shard that is not whole, the record of the parts that it has now; the others are pending.
    """
    mine, kept = parts(writer.spec), {}
    with ThreadPoolExecutor(connections(writer.path), thread_name_prefix="adopt") as pool:
        for shard, offer in offered.items():
            names = _taken(writer, {name: mine[name].key(shard) for name in offer.sources}, offer, pool)
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


def _add(
    spec: StoreSpec, found: dict[int, Offer], shard: int, record: Record, sources: Mapping[str, tuple[Location, str]]
) -> None:
    """Take from a store what no store before it had."""
    offer = found.get(shard) or Offer(Record(spec.fingerprint, shard, record.start, record.stop, {}, {}))
    new = sources.keys() - offer.sources.keys()
    if new:
        gained = _only(record, new)
        offer.record = Record(
            *(spec.fingerprint, shard, record.start, record.stop),
            {**offer.record.objects, **gained.objects},
            {**offer.record.statistics, **gained.statistics},
        )
        offer.sources |= {name: sources[name] for name in new}
        found[shard] = offer


def _taken(writer: StoreWriter, keys: Mapping[str, str], offer: Offer, pool: Executor) -> set[str]:
    """Take what is offered of a shard over; the names of the parts that are here then, under their keys."""

    def take(name: str) -> bool:
        return _take(writer, keys[name], offer.sources[name], offer.record.objects[name])

    return {name for name, done in zip(keys, pool.map(take, keys), strict=True) if done}


def _take(writer: StoreWriter, key: str, source: tuple[Location, str], wanted: Stored) -> bool:
    """Take an object over and hash it where it came to lie: in the other store it may be replaced at any time."""
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


def _only(record: Record, names: Set[str]) -> Record:
    return Record(
        *(record.fingerprint, record.shard, record.start, record.stop),
        {name: stored for name, stored in record.objects.items() if name in names},
        {name: told for name, told in record.statistics.items() if name in names},
    )
