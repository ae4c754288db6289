"""Where an engine's shards go: into a store, or nowhere."""

from collections import Counter
from concurrent.futures import Executor
from typing import Protocol

from ...cache import Quarantined, Record, ShardBuffer, Stored, StoreWriter, connections
from .shards import ShardUnderWay


class Sink(Protocol):
    """Where shards go."""

    writers: int
    """Objects that are written at once."""

    def write(self, shard: ShardUnderWay, buffer: ShardBuffer, pool: Executor) -> Record:
        """Write and commit a shard, an object a task of the pool."""
        ...

    def batch_reduced(self, images: int, error: BaseException) -> None:
        """Note that features are computed in batches of so many images from now on, since memory ran out.

        Raises:
            BaseException: They must not be; the error that is given.
        """
        ...


class StoreSink:
    """Writes shards to a store.

    Args:
        writer: Of the store.
    """

    def __init__(self, writer: StoreWriter) -> None:
        self._writer, self.writers = writer, connections(writer.path)

    def write(self, shard: ShardUnderWay, buffer: ShardBuffer, pool: Executor) -> Record:
        """Write and commit a shard."""
        if shard.shard in self._writer.records:
            # It is done again, and what it was must not be vouched for while its objects are replaced.
            self._writer.still_ours()
            self._writer.forget(shard.shard)
        kept = shard.work.kept.get(shard.shard)
        return self._writer.write_buffer(shard.shard, buffer, pool, self.quarantined(shard), kept)

    def batch_reduced(self, images: int, error: BaseException) -> None:
        """Have the store say so, before there is a feature of such a batch in it."""
        self._writer.reduce_batch(images)

    def quarantined(self, shard: ShardUnderWay) -> tuple[Quarantined, ...]:
        """What the record says of bad samples."""
        return shard.quarantined


class WeighingSink:
    """Does all with shards but writing them.

    Args:
        writers: Objects at once.

    Attributes:
        bytes: Of the objects of each part.
        bad: Samples that could not be used.
    """

    def __init__(self, writers: int) -> None:
        self.writers, self.bad = writers, 0
        self.bytes: Counter[str] = Counter()

    def batch_reduced(self, images: int, error: BaseException) -> None:
        """Go on."""

    def write(self, shard: ShardUnderWay, buffer: ShardBuffer, pool: Executor) -> Record:
        """Seal and hash a shard."""
        start, stop = shard.work.spec.rows(shard.shard)

        def weigh(name: str) -> tuple[str, Stored]:
            return name, Stored.of(buffer.object(name).seal(stop - start).content)

        objects = dict(pool.map(weigh, shard.missing))
        self.bytes.update({name: stored.bytes for name, stored in objects.items()})
        self.bad += len(shard.quarantined)
        return Record(shard.work.spec.fingerprint, shard.shard, start, stop, objects, {}, shard.quarantined)
