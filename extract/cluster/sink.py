"""Where a worker's shards go: into a store that other workers write to as well."""

from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from ...cache import Quarantined, StoreWriter, record_key
from ..engine import ShardUnderWay, StoreSink


class SharedSink(StoreSink):
    """Writes shards, and names files as the run does.

    Args:
        writer: Of the store.
        folder: See `Job`.
    """

    def __init__(self, writer: StoreWriter, folder: Path | None) -> None:
        super().__init__(writer)
        self._place, self._folder = writer.place, folder

    def committed(self, shard: int) -> bool:
        """Whether a shard has a record, whoever wrote it."""
        return self._place.exists(record_key(shard))

    @override
    def batch_reduced(self, images: int, error: BaseException) -> None:
        """Refuse: all workers compute in the same batches."""
        raise error

    @override
    def quarantined(self, shard: ShardUnderWay) -> tuple[Quarantined, ...]:
        """With files' names as the run gives them, so that the record is that of a single process."""
        if self._folder is None:
            return shard.quarantined
        prefix = f"{self._folder}/"
        return tuple(replace(bad, reason=bad.reason.replace(prefix, "")) for bad in shard.quarantined)
