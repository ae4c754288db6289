"""Writing a store: whole shards, data first, then the record."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DamagedError, StoreError
from .layout import arrays, parts
from .ledger import Quarantined, Record, commit, read_ledger, record_key, scan_ledger
from .location import Location, Url
from .metadata import GROUP, SAMPLES, attributes_of, read_attributes, write_missing
from .place import Place, Stored, place_at
from .shardfile import encode_shard
from .spec import StoreSpec, require_same
from .statistics import layer_statistics

# In a folder the work is hashing and checksums; to a bucket it is waiting, and all of a shard goes at once.
THREADS = min(os.cpu_count() or 1, 8)
CONNECTIONS = 16


class StoreWriter:
    """Creates a store, or goes on with one that was left unfinished or whose damaged parts were taken away.

    Args:
        path: Where the store lies.
        spec: What the store holds.
        about: What a reader may want to know and that decides no byte: data set, split.
        still_ours: Asked before each commit; raises where another run has taken the store over.

    Raises:
        StoreError: A store of other settings is there, or something else, or it cannot be written to.
    """

    def __init__(
        self, path: Location, spec: StoreSpec, about: Mapping[str, Any], still_ours: Callable[[], None] = lambda: None
    ) -> None:
        self.path, self.spec, self.still_ours = path, spec, still_ours
        self.place = place_at(path)
        self._layout, self._parts = arrays(spec), parts(spec)
        try:
            attributes = _attributes(self.place, spec)
            if attributes is not None:
                require_same(attributes["identity"], spec.identity, str(path))
            write_missing(self.place, attributes or attributes_of(spec, about), spec.entries)
            self.records = read_ledger(self.place, spec.fingerprint)
        except OSError as error:
            raise StoreError(
                f"{path}: a store cannot be made here ({error.strerror or error}); mend that, or give another path"
            ) from error

    @property
    def pending(self) -> list[int]:
        """Shards that have no record yet."""
        return [shard for shard in range(self.spec.shards) if shard not in self.records]

    def forget(self, shard: int) -> None:
        """Take a shard's record away, so that the shard is pending again."""
        self.place.delete(record_key(shard))
        self.records.pop(shard, None)

    def write(
        self,
        shard: int,
        block: Mapping[str, NDArray[Any]],
        quarantined: Sequence[Quarantined] = (),
        kept: Record | None = None,
    ) -> Record:
        """Write one whole shard and commit it. Writing it again gives the same bytes and the same record.

        Args:
            shard: Index of the shard.
            block: For each array of the layout, the rows of the shard.
            quarantined: Samples of it that could not be used.
            kept: Names parts whose objects are there already and stay; their rows of the block are not looked at.

        Raises:
            StoreError: A block of another shape or type, features beyond float16's range, or no space left.
        """
        start, stop = self.spec.rows(shard)
        self._check_block(block, stop - start)
        there = kept.objects if kept else {}
        bad = {sample.row - start for sample in quarantined}
        sound = [at for at in range(stop - start) if at not in bad]
        written = [name for name in self._parts if name not in there]

        def store(name: str) -> tuple[Stored, dict[str, float] | None]:
            return self._write_part(name, shard, block, sound)

        try:
            threads = CONNECTIONS if isinstance(self.path, Url) else THREADS
            with ThreadPoolExecutor(threads, thread_name_prefix="objects") as pool:
                done = dict(zip(written, pool.map(store, written), strict=True))
            record = Record(
                self.spec.fingerprint,
                *(shard, start, stop),
                {**there, **{name: stored for name, (stored, _) in done.items()}},
                {**(kept.statistics if kept else {}), **{name: told for name, (_, told) in done.items() if told}},
                tuple(quarantined),
            )
            self.still_ours()
            commit(self.place, record)
        except OSError as error:
            raise StoreError(
                f"{self.path}: shard {shard} could not be written ({error.strerror or error}); the {len(self.records)} "
                "shards committed so far are safe: make room or mend the path, then run the same command to go on"
            ) from error
        self.records[shard] = record
        return record

    def _write_part(
        self, name: str, shard: int, block: Mapping[str, NDArray[Any]], sound: Sequence[int]
    ) -> tuple[Stored, dict[str, float] | None]:
        part, first = self._parts[name], self.spec.rows(shard)[0]
        rows, statistics = part.of(block), None
        if rows.dtype == np.float16 and sound:
            statistics = layer_statistics(rows if len(sound) == len(rows) else rows[sound], name, first)
        elif rows.dtype == np.float32 and not np.isfinite(rows).all():
            raise StoreError(
                f"{name}: shard {shard} holds values that are not finite; nothing of it was committed: "
                "compute in float32 or bfloat16"
            )
        content = encode_shard(rows, self.spec.shard, compressed=part.layout.compressed)
        self.place.write(part.key(shard), content)
        return Stored.of(content), statistics

    def _check_block(self, block: Mapping[str, NDArray[Any]], rows: int) -> None:
        if set(block) != set(self._layout):
            raise StoreError(f"a shard needs the arrays {sorted(self._layout)}, got {sorted(block)}")
        for name, array in self._layout.items():
            wanted = (rows, *array.shape[1:])
            if block[name].shape != wanted or block[name].dtype != array.dtype:
                raise StoreError(
                    f"{name}: a whole shard {wanted} of {array.dtype} is wanted, "
                    f"got {block[name].shape} of {block[name].dtype}"
                )


def _attributes(place: Place, spec: StoreSpec) -> dict[str, Any] | None:
    """What the store says of itself; None where it has yet to be said, or was damaged (and is now gone).

    Raises:
        DamagedError: It is damaged, and no record shows that the store is this one.
        StoreError: Something else lies there.
    """
    try:
        attributes = read_attributes(place)
    except DamagedError:
        if not scan_ledger(place, spec.fingerprint)[0]:
            raise
        place.delete(GROUP)
        return None
    if attributes is None and not scan_ledger(place, spec.fingerprint)[0]:
        # A run that was killed before it had described its store has written the samples first.
        names = [name for name in place.names() if not name.startswith(".")]
        ours = {SAMPLES, *(name.partition("/")[0] for name in arrays(spec))}
        if names and (SAMPLES not in names or not ours.issuperset(names)):
            raise StoreError(
                f"{place.location}: is there already and is no feature store; give another path, or delete it"
            )
    return attributes
