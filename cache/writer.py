"""Writing a store: whole shards, data first, then the record."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StoreError
from .format.arrays import arrays, parts
from .format.buffers import ShardBuffer
from .format.identity import StoreSpec, require_same, settings_of
from .format.ledger import FOLDER, Quarantined, Record, commit, read_ledger, record_key
from .format.metadata import (
    GROUP,
    attributes_of,
    damaged_metadata,
    metadata_files,
    read_attributes,
    write_missing,
)
from .format.ownership import attributes_there
from .format.shard import ShardedArray
from .places.folder import is_begun
from .places.location import Location, Url
from .places.opening import place_at
from .places.place import Stored
from .reader import FeatureCache

# To a bucket the work is waiting, and all of a shard goes at once.
CONNECTIONS = 16
_MOST_THREADS = 8


class _CommittedError(Exception):
    """Another has committed the shard."""


class StoreWriter:
    """Creates a store, or goes on with one that was left unfinished or whose damaged parts were taken away.

    Args:
        path: Where the store lies.
        spec: What the store holds.
        about: What a reader may want to know and that decides no byte: data set, split.
        still_ours: Asked before each commit; raises where another run has taken the store over.
        records: What is committed, by shard, for one who knows it or need not; read from the ledger if not given.
        shared: Whether others write to the store too: a shard that has a record by now is left as it is.

    Raises:
        StoreError: A store of other settings is there, or something else, or it cannot be written to.
    """

    def __init__(
        self,
        path: Location,
        spec: StoreSpec,
        about: Mapping[str, Any],
        still_ours: Callable[[], None] = lambda: None,
        *,
        records: dict[int, Record] | None = None,
        shared: bool = False,
    ) -> None:
        self.path, self.spec, self.still_ours, self._shared = path, spec, still_ours, shared
        self.place = place_at(path)
        self._layout, self._parts = arrays(spec), parts(spec)
        try:
            attributes = attributes_there(self.place, spec)
            if attributes is not None:
                require_same(attributes["identity"], spec.identity, str(path))
            write_missing(self.place, attributes or attributes_of(spec, about), spec.entries)
            self.records = read_ledger(self.place, spec.fingerprint) if records is None else records
        except OSError as error:
            raise StoreError(
                f"{path}: a store cannot be made here ({error.strerror or error}); mend that, or give another path"
            ) from error

    @property
    def pending(self) -> list[int]:
        """Shards that have no record yet."""
        return [shard for shard in range(self.spec.shards) if shard not in self.records]

    def sweep(self, shards: Iterable[int] | None = None) -> None:
        """Delete the files that killed writers began. Only for the one who holds the store, while nobody writes.

        What is whole stays, and is written over: a worker whose run was killed may be about to record it. In a bucket
        nothing is ever left half written.

        Args:
            shards: Where to look; by default those without a record, which is all where one process writes.
        """
        if isinstance(self.path, Url):
            return
        looked = {str(shard) for shard in (self.pending if shards is None else shards)}
        places = {self.path / name for name in self._layout}
        folders = {self.path, self.path / FOLDER, *places, *(place.parent for place in places)}
        for place in places:
            for shard in looked.intersection(place_at(place).names("c")):
                folders |= {Path(folder) for folder, _, _ in os.walk(place / "c" / shard)}
        for folder in folders:
            for name in filter(is_begun, place_at(folder).names()):
                (folder / name).unlink(missing_ok=True)

    def forget(self, shard: int) -> None:
        """Take a shard's record away, so that the shard is pending again.

        Raises:
            StoreError: It cannot be deleted.
        """
        try:
            self.place.delete(record_key(shard))
        except OSError as error:
            raise StoreError(
                f"{self.path}: shard {shard} cannot be done again ({error.strerror or error}): nothing of it was "
                "changed; mend that, then run the same command again"
            ) from error
        self.records.pop(shard, None)

    def reduce_batch(self, images: int) -> None:
        """Have the store say that its features are computed in batches of so many images, fewer than it was begun with.

        Raises:
            StoreError: It cannot be written.
        """
        computed = self.spec.computed
        self.spec = replace(self.spec, computed={"asked": computed["batch"], **computed, "batch": images})
        try:
            attributes = read_attributes(self.place)
            described = attributes_of(self.spec, attributes["about"] if attributes else {})
            self.place.write(GROUP, metadata_files(described)[GROUP])
        except OSError as error:
            raise StoreError(
                f"{self.path}/{GROUP}: cannot be written ({error.strerror or error}); what is committed is safe: make "
                "room or mend the path, then run the same command to go on"
            ) from error

    def write(
        self,
        shard: int,
        block: Mapping[str, NDArray[Any]],
        quarantined: Sequence[Quarantined] = (),
        kept: Record | None = None,
    ) -> Record:
        """Write one whole shard from its arrays, and commit it (see `write_buffer`).

        Args:
            shard: Index of the shard.
            block: For each array of the layout, the rows of the shard; those of kept parts are not looked at.
            quarantined: Samples of it that could not be used.
            kept: Names parts whose objects are there already.

        Raises:
            StoreError: As `write_buffer`; and a block of another shape or type.
        """
        there = kept.objects if kept else {}
        buffer = ShardBuffer.of(self.spec, shard, block, [name for name in self._parts if name not in there])
        with ThreadPoolExecutor(connections(self.path), thread_name_prefix="objects") as pool:
            return self.write_buffer(shard, buffer, pool, quarantined, kept)

    def write_buffer(
        self,
        shard: int,
        buffer: ShardBuffer,
        pool: Executor,
        quarantined: Sequence[Quarantined] = (),
        kept: Record | None = None,
    ) -> Record:
        """Write one whole shard and commit it. Writing it again gives the same bytes and the same record.

        Args:
            shard: Index of the shard.
            buffer: Its rows, as they will be stored.
            pool: Seals, hashes and writes an object each.
            quarantined: Samples of it that could not be used.
            kept: Names parts whose objects are there already, of sound samples all; what the buffer has of them is not
                looked at. They stay, or are written anew where samples are quarantined now: zeros for those, and the
                others' very bits.

        Raises:
            StoreError: Features beyond float16's range, no space left, or a kept object that is damaged.
        """
        start, stop = self.spec.rows(shard)
        bad = sorted(sample.row - start for sample in quarantined)
        stays = kept if kept and not bad else Record(self.spec.fingerprint, shard, start, stop, {}, {})
        written = [name for name in self._parts if name not in stays.objects]
        # What is compressed may be long, and must not be begun last.
        written.sort(key=lambda name: not self._parts[name].layout.compressed)

        def store(name: str) -> Record:
            if kept and name in kept.objects:
                self._put_kept(buffer, kept, name, bad)
            return self._write_part(name, shard, buffer, bad)

        try:
            stored = [pool.submit(store, name) for name in written]
            wait(stored)  # also where one fails: the buffer may be filled again as soon as this returns
            whole = replace(stays, quarantined=tuple(quarantined))
            record = reduce(Record.plus, (part.result() for part in stored), whole)
            self.still_ours()
            self._require_uncommitted(shard)
            commit(self.place, record)
        except _CommittedError:
            record = Record.from_json(self.place.read(record_key(shard)))
        except OSError as error:
            number = len(self.records)
            committed = "shards committed so far are" if self._shared else f"{number} shards committed so far are"
            if number == 1 and not self._shared:
                committed = "1 shard committed so far is"
            raise StoreError(
                f"{self.path}: shard {shard} could not be written ({error.strerror or error}); the {committed} safe: "
                "make room or mend the path, then run the same command to go on"
            ) from error
        self.records[shard] = record
        return record

    def _require_uncommitted(self, shard: int) -> None:
        """Leave alone what others have committed meanwhile: on unlike hardware, objects and record would be of two."""
        if self._shared and self.place.exists(record_key(shard)):
            raise _CommittedError

    def _put_kept(self, buffer: ShardBuffer, kept: Record, name: str, bad: Sequence[int]) -> None:
        """Put the rows of a part whose object is there into a buffer, zeros in place of bad ones."""
        part, checksums = self._parts[name], kept.row_checksums(name)
        array = ShardedArray(self.place, part.array, part.layout, self.spec.shard, lambda _shard, _view: checksums)
        rows = array.read_rows(kept.start, kept.stop, part.view)
        rows[bad] = 0
        for at, row in enumerate(rows):
            buffer.put(name, at, row)

    def _write_part(self, name: str, shard: int, buffer: ShardBuffer, bad: Sequence[int]) -> Record:
        """Write one object of a shard; what the shard's record says of it."""
        start, stop = self.spec.rows(shard)
        statistics = buffer.statistics(name, shard, np.setdiff1d(np.arange(stop - start), bad))
        sealed = buffer.object(name).seal(stop - start)
        self._require_uncommitted(shard)
        self.place.write(self._parts[name].key(shard), sealed.content)
        contents = buffer.contents.get(name)
        return Record(
            *(self.spec.fingerprint, shard, start, stop),
            {name: Stored.of(sealed.content)},
            {name: statistics} if statistics else {},
            checksums={name: sealed.checksums},
            contents={name: "".join(contents[: stop - start])} if contents else {},
        )


def whole_store(path: Location, spec: StoreSpec) -> FeatureCache | None:
    """The store at a path, if nothing of it has to be written: all records are there, and all metadata is sound.

    What computed it does not matter where nothing is left to compute. None where it cannot be read, which is the
    writer's to say.
    """
    try:
        if len(place_at(path).names(FOLDER)) < spec.shards:
            return None
        cache = FeatureCache.open(path, expect=settings_of(spec.identity))
        return None if damaged_metadata(cache.place, {"identity": cache.identity}) else cache
    except (StoreError, OSError):
        return None


def connections(path: Location) -> int:
    """How many objects of a store to write or hash at once: in a folder the work is hashing, and wants cores."""
    if isinstance(path, Url):
        return CONNECTIONS
    # Counts the cores that a container may use. Loading it takes a quarter of a second.
    from dask.system import CPU_COUNT

    return min(CPU_COUNT, _MOST_THREADS)
