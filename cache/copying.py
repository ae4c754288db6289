"""A verified copy of a store to another place. It goes by the writer's own rule: data first, then the record."""

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreError
from .ledger import Record, hash_file, read_ledger, record_path, write_atomically
from .lock import only_writer
from .metadata import GROUP, SAMPLES, damaged_metadata, metadata_files, read_attributes
from .pointer import Pointer, resolve
from .reader import FeatureCache
from .shardfile import object_path
from .spec import require_same

THREADS = 2


@dataclass(frozen=True)
class Copied:
    """What copying a store did.

    Attributes:
        store: The copy.
        pointer: The pointer beside it; None where the original lacks shards.
        shards: Shards of the copy.
        copied: Of these, shards that this run copied.
        bytes: Bytes that it copied.
    """

    store: Path
    pointer: Path | None
    shards: int
    copied: int
    bytes: int


def copy(path: str | Path, folder: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Copied:
    """Copy a store, or go on with a copy that was interrupted: a shard copied and verified is not copied again.

    Args:
        path: The store, a pointer to it, or a folder with one pointer. One that lacks shards is copied as it is.
        folder: Where the copy and its pointer go, by the names of the original.
        progress: Called with (bytes copied, bytes to copy).

    Raises:
        StoreError: No store is there, it is damaged, another one is in the copy's place, or there is too little space.
    """
    source = FeatureCache.open(path, allow_incomplete=True)
    target = folder / source.path.name
    if target.resolve() == source.path.resolve():
        raise StoreError(f"{target}: is the store itself; give another folder")
    pointer = folder / f"{_pointer_name(Path(path), source.path)}.json"
    complete = len(source.records) == -(-len(source) // source.shard)
    _check_pointer(pointer, target)
    with only_writer(target):
        if not target.exists():
            _create(source, target)
        lacking = [source.records[shard] for shard in sorted(source.records.keys() - _there(source, target))]
        total = sum(stored.bytes for record in lacking for stored in record.arrays.values())
        _check_space(target, total)
        done = 0
        progress(done, total)
        with ThreadPoolExecutor(THREADS) as pool:
            for size in _copied(pool, source, target, lacking):
                done += size
                progress(done, total)
        if complete:
            Pointer(target.name, source.fingerprint, len(source), source.digest).write(pointer)
    return Copied(target, pointer if complete else None, len(source.records), len(lacking), total)


def _pointer_name(given: Path, store: Path) -> str:
    """The split: the pointer's name if one was given, else what the store's name starts with."""
    pointers = [file for file in ([given] if given.is_file() else given.glob("*.json")) if file.suffix == ".json"]
    if resolve(given)[1] is not None and len(pointers) == 1:
        return pointers[0].stem
    return store.stem.rpartition("-")[0] or store.stem


def _check_pointer(file: Path, target: Path) -> None:
    if file.exists() and (found := Pointer.read(file).store) != target.name:
        raise StoreError(f"{file}: points to {found or 'no store'}, which a copy would change; give another folder")


def _create(source: FeatureCache, target: Path) -> None:
    """Copy description and samples, no shard, beside the place and move them there."""
    attributes = {"identity": source.identity}
    for name in damaged_metadata(source.path, attributes):
        raise _damaged(source, source.path / name)
    names = [*metadata_files(attributes), SAMPLES]
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        for name in names:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path / name, partial / name)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _there(source: FeatureCache, target: Path) -> set[int]:
    """Shards that were copied before."""
    attributes = read_attributes(target)
    if attributes is None:
        raise StoreError(f"{target / GROUP}: missing, so this is no feature store; delete the folder, or give another")
    require_same(attributes["identity"], source.identity, str(target))
    records = read_ledger(target, source.fingerprint)
    for shard, record in records.items():
        if shard in source.records and record.content != source.records[shard].content:
            raise StoreError(
                f"{target}: its shard {shard} is another than that of {source.path} (extracted elsewhere?); "
                "delete it, or give another folder"
            )
    return set(records)


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target).free
    if needed > free:
        raise StoreError(
            f"{target}: the copy needs {needed / 1e9:.2f} GB more, {free / 1e9:.2f} GB are free; make room, or give "
            "another folder"
        )


def _copied(pool: ThreadPoolExecutor, source: FeatureCache, target: Path, records: Iterable[Record]) -> Iterable[int]:
    """Copy shard by shard; the sizes of the objects as they are done."""
    for record in records:
        yield from pool.map(lambda name, record=record: _copy_object(source, target, record, name), record.arrays)
        write_atomically(record_path(target, record.shard), record_path(source.path, record.shard).read_bytes())


def _copy_object(source: FeatureCache, target: Path, record: Record, name: str) -> int:
    dimensions = source.dimensions(name)
    original = object_path(source.path / name, record.shard, dimensions)
    file = object_path(target / name, record.shard, dimensions)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Without a record it is rubbish, and it may be a link to another store's.
    file.unlink(missing_ok=True)
    try:
        shutil.copyfile(original, file)
    except FileNotFoundError as error:
        raise _damaged(source, original) from error
    with file.open("rb") as written:
        os.fsync(written.fileno())
    stored = hash_file(file)
    if stored != record.arrays[name]:
        raise _damaged(source, original)
    return stored.bytes


def _damaged(source: FeatureCache, original: Path) -> StoreError:
    return StoreError(f"{original}: damaged; run `spaceclip cache repair {source.path}` first")
