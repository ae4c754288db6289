"""Writing a store: whole shards, data first, then the record."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .errors import DamagedError, StoreError
from .layout import arrays
from .ledger import Quarantined, Record, Stored, commit, hash_file, read_ledger, record_path, scan_ledger
from .metadata import GROUP, attributes_of, read_attributes, write_missing
from .shardfile import object_path
from .spec import StoreSpec, require_same
from .statistics import layer_statistics

# Zeros are written like anything else: what is not there must mean "not extracted". And only zarr's own pipeline writes
# objects atomically. Both are decided when an array is opened.
_WRITING = {
    "array.write_empty_chunks": True,
    "codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline",
}


class StoreWriter:
    """Creates a store, or goes on with one that was left unfinished or whose damaged parts were taken away.

    Args:
        path: Folder of the store.
        spec: What the store holds.
        about: What a reader may want to know and that decides no byte: data set, split.

    Raises:
        StoreError: The folder holds a store of other settings, or something else.
    """

    def __init__(self, path: Path, spec: StoreSpec, about: Mapping[str, Any]) -> None:
        self.path = path
        self.spec = spec
        self._layout = arrays(spec)
        attributes = _attributes(path, spec)
        if attributes is not None:
            require_same(attributes["identity"], spec.identity, str(path))
        elif not scan_ledger(path, spec.fingerprint)[0]:
            _create(path, spec, about)
        write_missing(path, attributes or attributes_of(spec, about), spec.entries)
        with zarr.config.set(_WRITING):
            root = zarr.open_group(path, mode="r+", zarr_format=3)
            self._arrays = {name: _array(root, name) for name in self._layout}
        self.records = read_ledger(path, spec.fingerprint)

    @property
    def pending(self) -> list[int]:
        """Shards that have no record yet."""
        return [shard for shard in range(self.spec.shards) if shard not in self.records]

    def forget(self, shard: int) -> None:
        """Take a shard's record away, so that the shard is pending again."""
        record_path(self.path, shard).unlink(missing_ok=True)
        self.records.pop(shard, None)

    def write(self, shard: int, block: Mapping[str, NDArray[Any]], quarantined: Sequence[Quarantined] = ()) -> Record:
        """Write one whole shard and commit it. Writing it again gives the same bytes and the same record.

        Args:
            shard: Index of the shard.
            block: For each array of the layout, the rows of the shard.
            quarantined: Samples of it that could not be used.

        Raises:
            StoreError: A block of another shape or type, features beyond float16's range, or no space left.
        """
        start, stop = self.spec.rows(shard)
        self._check_block(block, stop - start)
        if not np.isfinite(block["pooled"]).all():
            raise StoreError(
                f"pooled: shard {shard} holds values that are not finite; nothing of it was stored: "
                "compute in float32 or bfloat16"
            )
        statistics = {name: layer_statistics(block[name], name, start) for name in block if name.startswith("layers/")}
        try:
            stored = {name: self._write_array(name, shard, block[name]) for name in self._layout}
            record = Record(self.spec.fingerprint, shard, start, stop, stored, statistics, tuple(quarantined))
            commit(self.path, record)
        except OSError as error:
            raise StoreError(
                f"{self.path}: shard {shard} could not be written ({error.strerror}); the {len(self.records)} shards "
                "committed so far are safe: make room or mend the path, then run the same command to go on"
            ) from error
        self.records[shard] = record
        return record

    def _write_array(self, name: str, shard: int, rows: NDArray[Any]) -> Stored:
        start, stop = self.spec.rows(shard)
        file = object_path(self.path / name, shard, rows.ndim)
        # Without a record the object is rubbish; left there, zarr would read it to merge the new rows into it.
        file.unlink(missing_ok=True)
        self._arrays[name][start:stop] = rows
        # The record that follows must not outlive the data when the machine goes down.
        with file.open("rb") as written:
            os.fsync(written.fileno())
        return hash_file(file)

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


def _array(root: zarr.Group, name: str) -> zarr.Array[Any]:
    try:
        array = root.get(name)
    except (ValueError, TypeError, KeyError):
        array = None
    if not isinstance(array, zarr.Array):
        raise StoreError(
            f"{root.store_path}: the metadata of {name} is damaged; run `spaceclip cache repair` on the store"
        )
    return array


def _attributes(path: Path, spec: StoreSpec) -> dict[str, Any] | None:
    """What the store says of itself; None if it is damaged (and now gone) but the ledger shows whose store it is."""
    try:
        return read_attributes(path)
    except DamagedError:
        if not scan_ledger(path, spec.fingerprint)[0]:
            raise
        (path / GROUP).unlink()
        return None


def _create(path: Path, spec: StoreSpec, about: Mapping[str, Any]) -> None:
    """Lay out an empty store beside its place and move it there, so that it exists whole or not at all."""
    if path.exists():
        raise StoreError(f"{path}: is there already and is no feature store; give another path, or delete it")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        write_missing(partial, attributes_of(spec, about), spec.entries)
        partial.rename(path)
    except OSError as error:
        raise StoreError(f"{path}: a store cannot be made here ({error.strerror}); give another path") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
