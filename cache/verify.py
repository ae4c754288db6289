"""Finding what is missing, torn or altered in a store, from the ledger and the bytes on disk."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .deep import deep_problems
from .errors import DamagedError, StoreError
from .ledger import FOLDER, Record, hash_file, scan_ledger
from .metadata import GROUP, damaged_metadata, read_attributes
from .pointer import Pointer, resolve
from .reader import FeatureCache
from .shardfile import object_path

# One more than the cores, so that one can wait for the disk.
THREADS = (os.cpu_count() or 1) + 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store.

    Attributes:
        kind: `missing` (no record, or no file), `torn` (another size) or `altered` (another content); of a deep check
            also `undecodable`, `not finite` or `other statistics`.
        shard: Index of the shard, None for what concerns none alone.
        array: Name of the array, None where the whole shard is concerned.
        file: Place below the store of damaged metadata or of a damaged record; a pointer's starts with `../`.
    """

    kind: str
    shard: int | None
    array: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        places = (None if self.shard is None else f"shard {self.shard}", self.array, self.file)
        return ", ".join(place for place in places if place) + f": {self.kind}"


@dataclass(frozen=True)
class Verification:
    """What verifying a store found.

    Attributes:
        store: The store's folder.
        shards: Shards that the store should have; 0 where its own description is damaged, and nothing else was checked.
        bytes: Bytes read and hashed.
        problems: What is wrong: metadata first, then by shard.
    """

    store: Path
    shards: int
    bytes: int
    problems: list[Problem]


def verify(
    path: str | Path, progress: Callable[[int], None] = lambda _bytes: None, *, deep: bool = False
) -> Verification:
    """Compare every stored object with the ledger, and the metadata with what the store's identity asks for.

    Args:
        path: The store, a pointer to it, or a folder with one pointer.
        progress: Called with the number of bytes of each object read.
        deep: Also decode every chunk, look for values that are not finite, and compute the statistics again.

    Raises:
        StoreError: No store is there, or the pointer given is unreadable.
    """
    store, _ = resolve(Path(path))
    try:
        attributes = read_attributes(store)
    except DamagedError:
        return Verification(store, 0, 0, [Problem("altered", None, file=GROUP)])
    if attributes is None and (store / FOLDER).is_dir():
        return Verification(store, 0, 0, [Problem("missing", None, file=GROUP)])
    if attributes is None:
        raise StoreError(f"{store}: no feature store is there; run `spaceclip extract` to make it")
    records, damaged = scan_ledger(store, attributes["fingerprint"])
    cache = FeatureCache(store, attributes, records)
    shards = -(-len(cache) // cache.shard)
    problems = [Problem(kind, None, file=file) for file, kind in damaged_metadata(store, attributes).items()]
    problems += [Problem("altered", _shard_of(file), file=f"{FOLDER}/{file.name}") for file in damaged]
    told = {problem.shard for problem in problems}
    problems += [Problem("missing", shard) for shard in range(shards) if shard not in records and shard not in told]
    problems += _pointer_problems(cache, complete=len(records) == shards)
    total = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for found, size in pool.map(lambda item: _check(cache, item[0], item[1], deep), _objects(cache)):
            progress(size)
            total += size
            problems += found
    problems.sort(key=lambda one: (-1 if one.shard is None else one.shard, one.array or ""))
    return Verification(cache.path, shards, total, problems)


def stored_bytes(cache: FeatureCache) -> int:
    """Bytes of all committed objects, by the ledger."""
    return sum(stored.bytes for record in cache.records.values() for stored in record.arrays.values())


def _objects(cache: FeatureCache) -> Iterator[tuple[Record, str]]:
    for shard in sorted(cache.records):
        for name in cache.records[shard].arrays:
            yield cache.records[shard], name


def _check(cache: FeatureCache, record: Record, name: str, deep: bool) -> tuple[list[Problem], int]:
    """What is wrong with one object, and the bytes read."""
    expected = record.arrays[name]
    try:
        found = hash_file(object_path(cache.path / name, record.shard, cache.dimensions(name)))
    except OSError:
        return [Problem("missing", record.shard, name)], 0
    if found != expected:
        return [Problem("torn" if found.bytes != expected.bytes else "altered", record.shard, name)], found.bytes
    kinds = deep_problems(cache, record, name) if deep else []
    return [Problem(kind, record.shard, name) for kind in kinds], found.bytes


def _shard_of(record: Path) -> int | None:
    return int(record.stem) if record.stem.isdigit() else None


def _pointer_problems(cache: FeatureCache, *, complete: bool) -> list[Problem]:
    """Pointers beside a store that mean it, by name or by fingerprint, and are not what extraction wrote for it."""
    problems = []
    for file in sorted(cache.path.parent.glob("*.json")):
        try:
            pointer = Pointer.read(file)
        except StoreError:
            if cache.path.name.startswith(f"{file.stem}-"):
                problems.append(Problem("altered", None, file=f"../{file.name}"))
            continue
        named, printed = pointer.store == cache.path.name, pointer.fingerprint == cache.fingerprint
        means = pointer.means(cache.fingerprint, len(cache), cache.digest if complete else None)
        whole = file.read_bytes() == pointer.to_json()
        if (named or printed) and not (named and means and whole):
            problems.append(Problem("altered", None, file=f"../{file.name}"))
    return problems
