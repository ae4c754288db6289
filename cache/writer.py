"""Writing a store: whole shards, data first, then the record."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .errors import StoreError
from .layout import arrays, create_arrays
from .ledger import Record, Stored, commit, hash_file, read_ledger, write_atomically
from .shardfile import object_path
from .spec import StoreSpec, require_same
from .statistics import layer_statistics

FORMAT = 1
ATTRIBUTE = "spaceclip"
SAMPLES = "samples.jsonl"

# Zeros are written like anything else: what is not there must mean "not extracted". And only zarr's own pipeline writes
# objects atomically. Both are decided when an array is opened.
_WRITING = {
    "array.write_empty_chunks": True,
    "codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline",
}


class StoreWriter:
    """Creates a store, or goes on with one that was left unfinished.

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
        attributes = read_attributes(path)
        if attributes is None:
            _create(path, spec, about)
        else:
            require_same(attributes["identity"], spec.identity, str(path))
        with zarr.config.set(_WRITING):
            root = zarr.open_group(path, mode="r+", zarr_format=3)
            self._arrays = {name: _array(root, name) for name in self._layout}
        self.records = read_ledger(path, spec.fingerprint)

    @property
    def pending(self) -> list[int]:
        """Shards that have no record yet."""
        return [shard for shard in range(self.spec.shards) if shard not in self.records]

    def write(self, shard: int, block: Mapping[str, NDArray[Any]]) -> Record:
        """Write one whole shard and commit it. Writing it again gives the same bytes and the same record.

        Args:
            shard: Index of the shard.
            block: For each array of the layout, the rows of the shard.

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
            record = Record(self.spec.fingerprint, shard, start, stop, stored, statistics)
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


def read_attributes(path: Path) -> dict[str, Any] | None:
    """What a store says of itself: format, fingerprint, identity, about. None where nothing was created yet.

    Raises:
        StoreError: The folder is something else, or a store of another format.
    """
    file = path / "zarr.json"
    if not file.exists():
        return None
    try:
        attributes = json.loads(file.read_bytes())["attributes"].get(ATTRIBUTE)
    except (ValueError, KeyError, AttributeError) as error:
        raise StoreError(f"{file}: not the metadata of a Zarr group ({error}); a feature store was expected") from error
    if attributes is None:
        raise StoreError(f"{path}: a Zarr group, but no feature store; give another path")
    if attributes["format"] != FORMAT:
        raise StoreError(
            f"{path}: a store of format {attributes['format']}, this version reads {FORMAT}; extract it again"
        )
    return attributes


def _array(root: zarr.Group, name: str) -> zarr.Array[Any]:
    try:
        array = root.get(name)
    except (ValueError, TypeError, KeyError):
        array = None
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{root.store_path}: the metadata of {name} is damaged; delete the store and extract it again")
    return array


def _create(path: Path, spec: StoreSpec, about: Mapping[str, Any]) -> None:
    """Lay out an empty store beside its place and move it there, so that it exists whole or not at all."""
    if path.exists():
        raise StoreError(f"{path}: is there already and is no feature store; give another path, or delete it")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    attributes = {"format": FORMAT, "fingerprint": spec.fingerprint, "identity": spec.identity, "about": dict(about)}
    lines = [json.dumps({"id": entry.id, "scene": entry.scene, "stamp": entry.stamp}) for entry in spec.entries]
    try:
        partial.mkdir(parents=True)
        create_arrays(partial, spec, {ATTRIBUTE: attributes})
        write_atomically(partial / SAMPLES, "\n".join(lines).encode() + b"\n")
        partial.rename(path)
    except OSError as error:
        raise StoreError(f"{path}: a store cannot be made here ({error.strerror}); give another path") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
