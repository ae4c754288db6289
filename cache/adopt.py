"""Taking over shards of a like store whose samples are the same, so that a mended image costs one shard, not all."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import StoreError
from .layout import arrays
from .ledger import Record, commit, hash_file, scan_ledger
from .metadata import read_attributes, read_samples
from .shardfile import object_path
from .spec import StoreSpec
from .writer import StoreWriter


def adoptable(spec: StoreSpec, pending: Iterable[int], others: Iterable[Path]) -> dict[int, tuple[Path, Record]]:
    """Shards that other stores hold already: made alike, of samples that are the same and all sound.

    Args:
        spec: What the store holds.
        pending: The shards that it lacks.
        others: Other stores; damaged ones, and those made otherwise, are passed over.

    Returns:
        By shard, the store that has it and its record there.
    """
    wanted, found = set(pending), {}
    for other in sorted(others):
        try:
            attributes = read_attributes(other)
            if attributes is None or _but_samples(attributes["identity"]) != _but_samples(spec.identity):
                continue
            entries = read_samples(other, attributes["identity"])
        except StoreError:
            continue
        for shard, record in scan_ledger(other, attributes["fingerprint"])[0].items():
            if shard not in wanted or record.quarantined or (record.start, record.stop) != spec.rows(shard):
                continue
            rows = slice(record.start, record.stop)
            if list(entries[rows]) == list(spec.entries[rows]):
                found[shard] = (other, record)
    return found


def adopt(writer: StoreWriter, others: Iterable[Path]) -> None:
    """Link the objects of shards that other stores hold into a store, and commit them. No byte is copied.

    Where a file system has no hard links the shards stay pending.
    """
    layout = arrays(writer.spec)
    for shard, (other, record) in adoptable(writer.spec, writer.pending, others).items():
        try:
            for name, stored in record.arrays.items():
                dimensions = len(layout[name].shape)
                there, here = (object_path(store / name, shard, dimensions) for store in (other, writer.path))
                if hash_file(there) != stored:  # what is damaged there must not come back here
                    raise FileNotFoundError(there)
                here.parent.mkdir(parents=True, exist_ok=True)
                here.unlink(missing_ok=True)
                os.link(there, here)
        except OSError:
            continue
        writer.records[shard] = replace(record, fingerprint=writer.spec.fingerprint)
        commit(writer.path, writer.records[shard])


def _but_samples(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if name != "samples"}
