"""A verified copy of a store to another place, as it is or in int8. It goes by the writer's rule: data, then record.

An interrupted copy is a store that lacks shards, and nothing else: its metadata is there before the first of them, its
pointer comes after the last.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..encoder_rate import EncoderRate
from ..errors import StoreError
from ..format.arrays import identity_parts
from ..format.identity import Storage
from ..format.ledger import Record, commit, ledger_digest
from ..format.metadata import damaged_metadata
from ..looks import Looks, carry_looks, count_looks
from ..places.location import Location, locate
from ..places.lock import only_writer
from ..places.opening import place_at
from ..places.place import Content, Stored
from ..pointer import SUFFIX, Pointer
from ..reader import FeatureCache
from ..sizes import size_text
from ..writer import StoreWriter
from .conversion import Conversion

# Objects on their way at once; each is held in memory.
THREADS = 8
# Shards begun before the one before is committed, so that no thread waits for the last object of a shard.
AHEAD = 1


@dataclass(frozen=True)
class Copied:
    """What copying a store did.

    Attributes:
        store: The copy.
        pointer: The pointer beside it; None where the original lacks shards.
        shards: Shards of the copy.
        copied: Of these, shards that this run copied.
        bytes: Bytes that it wrote.
        looks: At the test split, those at the original too.
    """

    store: Location
    pointer: Location | None
    shards: int
    copied: int
    bytes: int
    looks: Looks


def copy(
    path: str | Location,
    folder: Location,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    precision: Storage | None = None,
) -> Copied:
    """Copy a store, or go on with a copy that was interrupted: a shard copied and verified is not copied again.

    Every object is hashed and compared with the ledger before it is written, and read back where it comes to lie on a
    file system. What is sent to a bucket is not: S3 refuses what its signature does not cover, for others only TLS
    stands; `verify` reads a copy there as well.

    Args:
        path: The store, a pointer to it, or a folder with one pointer. One that lacks shards is copied as it is.
        folder: Where the copy and its pointer go, by the names of the original; in another precision the store has a
            fingerprint of its own.
        progress: Called with (bytes of the original done, bytes to do).
        precision: How hidden states are kept in the copy; as in the original if not given.

    Raises:
        StoreError: No store is there, it is damaged, another one is in the copy's place, there is too little space, or
            the precision cannot be had.
    """
    given = locate(path)
    source = FeatureCache.open(given, allow_incomplete=True)
    for file in damaged_metadata(source.place, {"identity": source.identity}):
        raise _damaged(source, file)
    name = _pointer_name(given, source.path)
    conversion = Conversion.of(source, precision)
    target = folder / conversion.name(source, name)
    if _same_place(target, source.path):
        raise StoreError(f"{target}: is the store itself; give another folder")
    pointer = folder / f"{name}{SUFFIX}"
    _check_pointer(pointer, target)
    with only_writer(target) as still_ours:
        writer = StoreWriter(target, conversion.spec, source.about, still_ours)
        _check_content(source, writer, conversion)
        writer.sweep()
        lacking = [source.records[shard] for shard in sorted(source.records.keys() - writer.records.keys())]
        _check_space(writer, sum(conversion.predicted_bytes(record) for record in lacking))
        total = sum(stored.bytes for record in lacking for stored in record.objects.values())
        done = 0
        progress(done, total)
        for size in _copied(source, writer, conversion, lacking):
            done += size
            progress(done, total)
        written = (writer.records[record.shard].objects for record in lacking)
        size = sum(stored.bytes for objects in written for stored in objects.values())
        complete = len(source.records) == conversion.spec.shards
        if complete:
            if rate := EncoderRate.read(source.path):
                rate.write(target)
            try:
                carry_looks(source.path, target)
            except OSError as error:
                raise _unwritten(writer, error) from error
            digest = ledger_digest(writer.records)
            Pointer.to(target, pointer, conversion.spec.fingerprint, len(source), digest).write(pointer)
    return Copied(target, pointer if complete else None, len(source.records), len(lacking), size, count_looks(target))


def _pointer_name(given: Location, store: Location) -> str:
    """The split: the pointer's name if one was given, else what the store's name starts with."""
    if _same_place(given, store):
        return store.stem.rpartition("-")[0] or store.stem
    if given.name.endswith(SUFFIX):
        return given.stem
    return next(n for n in place_at(given).names() if n.endswith(SUFFIX) and n[0] != ".").removesuffix(SUFFIX)


def _same_place(one: Location, other: Location) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def _check_pointer(file: Location, target: Location) -> None:
    try:
        there = place_at(file.parent).exists(file.name)
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror or error}); mend that, or give another") from error
    if there:
        found = Pointer.read(file)
        if not found.store or not _same_place(found.target(file), target):
            means = found.store or "no store"
            raise StoreError(f"{file}: points to {means}, which a copy would change; give another folder")


def _check_content(source: FeatureCache, writer: StoreWriter, conversion: Conversion) -> None:
    """What was copied before must be of this original."""
    for shard in writer.records.keys() & source.records.keys():
        if conversion.unchanged(writer.records[shard]) != conversion.unchanged(source.records[shard]):
            raise StoreError(
                f"{writer.path}: its shard {shard} is another than that of {source.path} (extracted elsewhere?); "
                "delete it, or give another folder"
            )


def _check_space(writer: StoreWriter, needed: int) -> None:
    free = writer.place.free_bytes()
    if free is not None and needed > free:
        raise StoreError(
            f"{writer.path}: the copy needs {size_text(needed)} more, {size_text(free)} are free; make room, or "
            "give another folder"
        )


def _copied(
    source: FeatureCache, writer: StoreWriter, conversion: Conversion, records: Sequence[Record]
) -> Iterator[int]:
    """Copy and commit shard by shard; the sizes of the original's objects as they are done."""
    waiting: deque[tuple[Record, list[Future[Record]]]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="copy")

    def finished() -> Iterator[int]:
        record, parts = waiting.popleft()
        copied = conversion.unchanged(record)
        for part, size in zip(parts, record.objects.values(), strict=True):
            copied = copied.plus(part.result())
            yield size.bytes
        _commit(writer, copied)

    try:
        for record in records:
            parts = [pool.submit(_copy_part, source, writer, conversion, record, name) for name in record.objects]
            waiting.append((record, parts))
            if len(waiting) > AHEAD:
                yield from finished()
        while waiting:
            yield from finished()
    finally:
        pool.shutdown(cancel_futures=True)


def _copy_part(source: FeatureCache, writer: StoreWriter, conversion: Conversion, record: Record, name: str) -> Record:
    """Copy one object of a shard to the one, or the two, that it is in the copy; what the copy's record says of it."""
    content = _read(source, record, name)
    parts, copied = identity_parts(conversion.spec.identity), conversion.unchanged(record).only([name])
    made = conversion.converted(record, name, content)
    if not made:
        _write(writer, parts[name].key(record.shard), content, copied.objects[name])
    for there, sealed in made.items():
        copied = copied.plus(conversion.record(record, there, sealed))
        _write(writer, parts[there].key(record.shard), sealed.content, copied.objects[there])
    return copied


def _read(source: FeatureCache, record: Record, name: str) -> bytes:
    key = source.parts[name].key(record.shard)
    try:
        content = source.place.read(key)
    except FileNotFoundError as error:
        raise _damaged(source, key) from error
    except OSError as error:
        raise StoreError(
            f"{source.path}/{key}: cannot be read ({error.strerror or error}); run the same command again to go on"
        ) from error
    if Stored.of(content) != record.objects[name]:
        raise _damaged(source, key)
    return content


def _write(writer: StoreWriter, key: str, content: Content, stored: Stored) -> None:
    try:
        writer.place.write(key, content)
        sound = not isinstance(writer.path, Path) or writer.place.stored(key) == stored
    except OSError as error:
        raise _unwritten(writer, error) from error
    if not sound:
        raise StoreError(f"{writer.path}/{key}: reads otherwise than it was written; copy to another disk")


def _commit(writer: StoreWriter, record: Record) -> None:
    writer.still_ours()
    try:
        commit(writer.place, record)
    except OSError as error:
        raise _unwritten(writer, error) from error
    writer.records[record.shard] = record


def _unwritten(writer: StoreWriter, error: OSError) -> StoreError:
    return StoreError(
        f"{writer.path}: cannot be written to ({error.strerror or error}); what was copied so far is safe: make room "
        "or mend the path, then run the same command to go on"
    )


def _damaged(source: FeatureCache, key: str) -> StoreError:
    return StoreError(f"{source.path}/{key}: damaged; run `spaceclip cache repair {source.path}` first")
