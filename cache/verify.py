"""Finding what is missing, torn or altered in a store, from the ledger and the bytes on disk."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .ledger import Record, hash_file
from .reader import FeatureCache
from .shardfile import object_path

THREADS = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store.

    Attributes:
        kind: `missing` (no record, or a record without its file), `torn` (another size) or `altered` (another content).
        shard: Index of the shard.
        array: Name of the array, None where the whole shard is concerned.
    """

    kind: str
    shard: int
    array: str | None

    def __str__(self) -> str:
        return f"shard {self.shard}" + (f", {self.array}" if self.array else "") + f": {self.kind}"


@dataclass(frozen=True)
class Verification:
    """What verifying a store found.

    Attributes:
        store: The store's folder.
        shards: Shards that the store should have.
        bytes: Bytes read and hashed.
        problems: What is wrong, by shard.
    """

    store: Path
    shards: int
    bytes: int
    problems: list[Problem]


def verify(path: str | Path, progress: Callable[[int], None] = lambda _bytes: None) -> Verification:
    """Compare every stored object with the ledger.

    Args:
        path: The store, a pointer to it, or a folder with one pointer.
        progress: Called with the number of bytes of each object read.

    Raises:
        StoreError: No store is there, or its metadata or ledger is unreadable.
    """
    cache = FeatureCache.open(path, allow_incomplete=True)
    entries = cache.entries
    shards = -(-len(entries) // cache.shard)
    problems = [Problem("missing", shard, None) for shard in range(shards) if shard not in cache.records]
    total = 0
    with ThreadPoolExecutor(THREADS) as pool:
        checked = pool.map(lambda item: _check(cache, *item), _objects(cache))
        for kind, shard, array, size in checked:
            progress(size)
            total += size
            if kind:
                problems.append(Problem(kind, shard, array))
    return Verification(cache.path, shards, total, sorted(problems, key=lambda found: (found.shard, found.array or "")))


def stored_bytes(cache: FeatureCache) -> int:
    """Bytes of all committed objects, by the ledger."""
    return sum(stored.bytes for record in cache.records.values() for stored in record.arrays.values())


def _objects(cache: FeatureCache) -> Iterator[tuple[Record, str]]:
    for shard in sorted(cache.records):
        for name in cache.records[shard].arrays:
            yield cache.records[shard], name


def _check(cache: FeatureCache, record: Record, name: str) -> tuple[str | None, int, str, int]:
    """Kind of the problem (None when all is well), shard, array, bytes read."""
    expected = record.arrays[name]
    try:
        found = hash_file(object_path(cache.path / name, record.shard, cache.dimensions(name)))
    except OSError:
        return "missing", record.shard, name, 0
    kind = None if found == expected else "torn" if found.bytes != expected.bytes else "altered"
    return kind, record.shard, name, found.bytes
