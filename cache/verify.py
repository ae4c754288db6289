"""Finding what is missing, torn or altered in a store, from the ledger and the bytes on disk."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .deep import deep_problems
from .errors import DamagedError, StoreError
from .ledger import FOLDER, Record, scan_ledger
from .location import Location
from .metadata import GROUP, damaged_metadata, read_attributes
from .place import place_at
from .pointer import SUFFIX, Pointer, resolve
from .reader import FeatureCache

# One more than the cores, so that one can wait for the disk.
THREADS = (os.cpu_count() or 1) + 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store.

    Attributes:
        kind: `missing` (no record, or no file), `torn` (another size) or `altered` (another content); of a deep check
            also `undecodable`, `not finite` or `other statistics`.
        shard: Index of the shard, None for what concerns none alone.
        part: Which part of the shard (`layers/3/flipped`), None where the whole is concerned.
        file: Key below the store of damaged metadata or of a damaged record; a pointer's starts with `../`, or with
            `pointer ` if it does not lie beside the store.
    """

    kind: str
    shard: int | None
    part: str | None = None
    file: str | None = None

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
        StoreError: No store is there, or the pointer given is unreadable.
    """
    store, pointer = resolve(path)
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
    shards = -(-len(cache) // cache.shard)
    problems = [Problem(kind, None, file=file) for file, kind in damaged_metadata(place, attributes).items()]
    problems += [Problem("altered", _shard_of(key), file=key) for key in damaged]
    told = {problem.shard for problem in problems}
    problems += [Problem("missing", shard) for shard in range(shards) if shard not in records and shard not in told]
    digest = cache.digest if len(records) == shards else None
    problems += _pointer_problems(cache, digest)
    apart = pointer if pointer and pointer.store != store.name else None
    if apart and not apart.means(cache.fingerprint, len(cache), digest):
        problems.append(Problem("altered", None, file=f"pointer {path}"))
    total = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for found, size in pool.map(lambda item: _check(cache, item[0], item[1], deep), _objects(cache)):
            progress(size)
            total += size
            problems += found
    problems.sort(key=lambda one: (-1 if one.shard is None else one.shard, one.part or ""))
    return Verification(cache.path, shards, total, problems)


def stored_bytes(cache: FeatureCache) -> int:
    """Bytes of all committed objects, by the ledger."""
    return sum(stored.bytes for record in cache.records.values() for stored in record.objects.values())


def _objects(cache: FeatureCache) -> Iterator[tuple[Record, str]]:
    for shard in sorted(cache.records):
        for name in cache.records[shard].objects:
            yield cache.records[shard], name


def _check(cache: FeatureCache, record: Record, name: str, deep: bool) -> tuple[list[Problem], int]:
    """What is wrong with one object, and the bytes read."""
    expected = record.objects[name]
    try:
        found = cache.place.stored(cache.parts[name].key(record.shard))
    except FileNotFoundError:
        return [Problem("missing", record.shard, name)], 0
    if found != expected:
        return [Problem("torn" if found.bytes != expected.bytes else "altered", record.shard, name)], found.bytes
    kinds = deep_problems(cache, record, name) if deep else []
    return [Problem(kind, record.shard, name) for kind in kinds], found.bytes


def _shard_of(key: str) -> int | None:
    stem = key.removeprefix(f"{FOLDER}/").removesuffix(".json")
    return int(stem) if stem.isdigit() else None


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
        means = pointer.means(cache.fingerprint, len(cache), digest)
        whole = beside.read(name) == pointer.to_json()
        if (named or printed) and not (named and means and whole):
            problems.append(Problem("altered", None, file=f"../{name}"))
    return problems
