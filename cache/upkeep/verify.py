"""Finding what is missing, torn or altered in a store, from the ledger and the bytes on disk."""

import errno
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DamagedError, StoreError, UnreadableError
from ..format.arrays import DEPTH
from ..format.ledger import FOLDER, Record, record_key, scan_ledger
from ..format.metadata import GROUP, damaged_metadata, read_attributes
from ..format.statistics import depth_range, layer_statistics, measured_depth, row_moments
from ..places.location import Location
from ..places.opening import place_at
from ..places.place import Place, Stored
from ..pointer import SUFFIX, Pointer, resolve
from ..reader import FeatureCache

# One more than the cores, so that one can wait for the disk.
THREADS = (os.cpu_count() or 1) + 1
# Objects taken up before the first of them is done: a store has tens of millions, and each one waiting takes room.
AHEAD = 4 * THREADS

# Of the root mean square. A row's sums were taken in float32, in an order that each device has of its own.
_TOLERANCE = 1e-4

# What a file says that is damaged itself; with any other error it may be sound. In a bucket all are the network's.
_DAMAGED = {errno.EIO, errno.EISDIR, errno.ENOTDIR}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store.

    Attributes:
        kind: `missing` (no record, or no file), `torn` (another size), `altered` (another content) or `unreadable` (the
            disk gives an error, or no file is in its place, also when tried again); of a deep check also `undecodable`,
            `not finite`, or `other statistics` with the names of those that differ.
        shard: Index of the shard, None for what concerns none alone.
        part: Which part of the shard (`layers/3/flipped`), None where the whole is concerned.
        file: Key below the store of damaged metadata or of a damaged record; a pointer's starts with `../`, or with
            `pointer ` if it does not lie beside the store.
        linked: Whether the damaged file is a hard link, so that another store holds the same damage.
    """

    kind: str
    shard: int | None
    part: str | None = None
    file: str | None = None
    linked: bool = False

    def __str__(self) -> str:
        places = (None if self.shard is None else f"shard {self.shard}", self.part, self.file)
        return ", ".join(place for place in places if place) + f": {self.kind}"


@dataclass(frozen=True)
class Verification:
    """What verifying a store found.

    Attributes:
        store: Where the store lies.
        shards: Shards that the store should have; 0 where its own description is damaged, and nothing else was checked.
        bytes: Bytes read and hashed.
        problems: What is wrong: metadata first, then by shard.
    """

    store: Location
    shards: int
    bytes: int
    problems: list[Problem]


def verify(
    path: str | Location, progress: Callable[[int], None] = lambda _bytes: None, *, deep: bool = False
) -> Verification:
    """Compare every stored object with the ledger, and the metadata with what the store's identity asks for.

    Args:
        path: The store, a pointer to it, or a folder with one pointer.
        progress: Called with the number of bytes of each object read.
        deep: Also decode every chunk, look for values that are not finite, and compute the statistics again.

    Raises:
        UnreadableError: Something may well be sound and cannot be read just now.
        StoreError: No store is there, or the pointer given is unreadable.
    """
    store, pointer, _ = resolve(path)
    try:
        return _verified(store, pointer, f"pointer {path}", progress, deep)
    except OSError as error:
        raise UnreadableError.of(error.filename or store, error) from error


def stored_bytes(cache: FeatureCache) -> int:
    """Bytes of all committed objects, by the ledger."""
    return sum(stored.bytes for record in cache.records.values() for stored in record.objects.values())


def _verified(
    store: Location, pointer: Pointer | None, given: str, progress: Callable[[int], None], deep: bool
) -> Verification:
    place = place_at(store)
    try:
        attributes = read_attributes(place)
    except DamagedError:
        return Verification(store, 0, 0, [Problem("altered", None, file=GROUP)])
    if attributes is None and place.names(FOLDER):
        return Verification(store, 0, 0, [Problem("missing", None, file=GROUP)])
    if attributes is None:
        raise StoreError(f"{store}: no feature store is there; run `spaceclip extract` to make it")
    records, damaged = scan_ledger(place, attributes["fingerprint"])
    cache = FeatureCache(place, attributes, records)
    wanted = range(cache.shards)
    strays = [record_key(shard) for shard in records if shard not in wanted]
    cache.records = {shard: record for shard, record in records.items() if shard in wanted}
    problems = [Problem(kind, None, file=file) for file, kind in damaged_metadata(place, attributes).items()]
    problems += [Problem("altered", _shard_of(key, wanted), file=key) for key in (*damaged, *strays)]
    accounted = {*cache.records, *(problem.shard for problem in problems)}
    problems += [Problem("missing", shard) for shard in wanted if shard not in accounted]
    digest = cache.digest if len(cache.records) == cache.shards else None
    problems += _pointer_problems(cache, digest)
    apart = pointer if pointer and pointer.store != store.name else None
    if apart and not apart.matches(cache.fingerprint, len(cache), digest):
        problems.append(Problem("altered", None, file=given))
    total = 0
    for found, size in _checked(cache, deep):
        progress(size)
        total += size
        problems += found
    problems.sort(key=lambda one: (-1 if one.shard is None else one.shard, one.part or ""))
    return Verification(cache.path, cache.shards, total, problems)


def _checked(cache: FeatureCache, deep: bool) -> Iterator[tuple[list[Problem], int]]:
    """`_check` of every object in turn, some at once."""
    waiting: deque[Future[tuple[list[Problem], int]]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="verify")
    try:
        for record, name in _objects(cache):
            waiting.append(pool.submit(_check, cache, record, name, deep))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _objects(cache: FeatureCache) -> Iterator[tuple[Record, str]]:
    for shard in sorted(cache.records):
        for name in cache.records[shard].objects:
            yield cache.records[shard], name


def _check(cache: FeatureCache, record: Record, name: str, deep: bool) -> tuple[list[Problem], int]:
    """What is wrong with one object, and the bytes read."""
    key, expected = cache.parts[name].key(record.shard), record.objects[name]
    try:
        found = _stored(cache.place, key)
    except FileNotFoundError:
        return [Problem("missing", record.shard, name)], 0
    except OSError as error:
        if _is_damage(cache.place, error):
            return [Problem("unreadable", record.shard, name, linked=_is_linked(cache.place, key))], 0
        raise UnreadableError.of(f"{cache.path}/{key}", error) from error
    if found != expected:
        kinds = ["torn" if found.bytes != expected.bytes else "altered"]
    else:
        kinds = _deep_problems(cache, record, name) if deep else []
    return [Problem(kind, record.shard, name, linked=_is_linked(cache.place, key)) for kind in kinds], found.bytes


def _deep_problems(cache: FeatureCache, record: Record, name: str) -> list[str]:
    """Decode every chunk of one part of a shard: what of `undecodable`, `not finite`, `other statistics` holds."""
    part, recorded = cache.parts[name], record.statistics.get(name)
    try:
        array = cache.array(part.array)
    except UnreadableError:
        raise
    except StoreError:
        return []  # Its metadata is damaged, which is said once and no fault of this shard.
    bad = {sample.row for sample in record.quarantined}
    sound = [row - record.start for row in range(record.start, record.stop) if row not in bad]
    try:
        if recorded is None:
            rows = (array.read_rows(row, row + 1, part.view) for row in range(record.start, record.stop))
            finite = all([np.isfinite(row).all() for row in rows])  # noqa: C419 - all rows are to be decoded
            return [] if finite else ["not finite"]
        whole = array.read_rows(record.start, record.stop, part.view)
    except UnreadableError:
        raise
    except StoreError:
        return ["undecodable"]
    with np.errstate(invalid="ignore"):  # Infinities of both signs in one sum.
        found = _statistics(cache, name, whole[sound]) if sound else {}
    if found is None:
        return ["not finite"]
    differing = _differing(found, recorded)
    return [f"other statistics ({', '.join(differing)})"] if differing else []


def _differing(found: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """Names of the statistics that are not as recorded: sums by more than rounding explains, all others at all."""
    scale = math.hypot(recorded.get("mean", 0), recorded.get("std", 0))

    def differs(name: str) -> bool:
        one, other = found.get(name, math.nan), recorded.get(name, math.nan)
        if name == "mean":
            return not abs(one - other) <= _TOLERANCE * scale
        if name == "std":  # The mean of squares was summed, of which the mean's is taken away.
            return not abs(one**2 - other**2) <= _TOLERANCE * scale**2
        return one != other

    return [name for name in {**found, **recorded} if differs(name)]


def _statistics(cache: FeatureCache, name: str, rows: np.ndarray) -> dict[str, float] | None:
    if name != DEPTH:
        return layer_statistics(np.array([row_moments(row) for row in rows]), rows[0].size)
    measured = depth_range(map(measured_depth, rows), cache.identity["depth"]["unit"])
    return measured._asdict() if measured else {}


def _stored(place: Place, key: str) -> Stored:
    try:
        return place.stored(key)
    except OSError as error:
        if not _is_damage(place, error):
            raise
        # A file server's hiccup looks like a bad sector, but does not stay.
        return place.stored(key)


def _is_damage(place: Place, error: OSError) -> bool:
    return isinstance(place.location, Path) and error.errno in _DAMAGED


def _is_linked(place: Place, key: str) -> bool:
    """Whether a file has more names than this: growth links what another store holds."""
    file = isinstance(place.location, Path) and place.location / key
    return bool(file) and file.is_file() and file.stat().st_nlink > 1


def _shard_of(key: str, shards: range) -> int | None:
    """The shard that a record's key is for; None for a stray file, as `1.json` beside `000001.json`."""
    stem = key.removeprefix(f"{FOLDER}/").removesuffix(".json")
    shard = int(stem) if stem.isdecimal() else -1
    return shard if shard in shards and key == record_key(shard) else None


def _pointer_problems(cache: FeatureCache, digest: str | None) -> list[Problem]:
    """Pointers beside a store that mean it, by name or by fingerprint, and are not what extraction wrote for it."""
    problems = []
    beside = place_at(cache.path.parent)
    for name in beside.names():
        if not name.endswith(SUFFIX) or name.startswith("."):
            continue
        try:
            pointer = Pointer.read(cache.path.parent / name)
        except StoreError:
            if cache.path.name.startswith(f"{name.removesuffix(SUFFIX)}-"):
                problems.append(Problem("altered", None, file=f"../{name}"))
            continue
        named, printed = pointer.store == cache.path.name, pointer.fingerprint == cache.fingerprint
        matches = pointer.matches(cache.fingerprint, len(cache), digest)
        whole = beside.read(name) == pointer.to_json()
        if (named or printed) and not (named and matches and whole):
            problems.append(Problem("altered", None, file=f"../{name}"))
    return problems
