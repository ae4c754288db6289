"""What a store lacks, and what of that other stores have: found out once, for a plan as for a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..cache import (
    CompatibleStore,
    Location,
    Record,
    SharedParts,
    SpaceClipError,
    StoreSpec,
    compatible_stores,
    missing_parts,
    place_at,
    shared_parts,
    shared_rows,
)
from .remaining import Work
from .samples import OnError, each_sample
from .settings import ExtractSettings
from .sources.source import Source


@dataclass(frozen=True)
class Lacking:
    """What a store lacks.

    Attributes:
        spec: What it is to hold.
        pending: Shards without a record.
        again: Shards with one that are done again.
        alike: Compatible stores beside it.
        offered: By pending shard, the parts that those have.
    """

    spec: StoreSpec
    pending: list[int]
    again: list[int]
    alike: Sequence[CompatibleStore]
    offered: Mapping[int, SharedParts]

    @classmethod
    def of(
        cls, spec: StoreSpec, store: Location, split: str, records: Mapping[int, Record], again: list[int]
    ) -> "Lacking":
        """What the store of a split lacks that has some records."""
        pending = [shard for shard in range(spec.shards) if shard not in records]
        alike = compatible_stores(spec, _beside(store, split))
        return cls(spec, pending, again, alike, shared_parts(spec, pending, alike))

    def work(self, kept: Mapping[int, Record], whole: Mapping[int, Record]) -> Work:
        """What has to be computed.

        Args:
            kept: By shard, what it will say of the parts that are taken over.
            whole: Shards that are whole by what was taken over.
        """
        pending = [shard for shard in self.pending if shard not in whole]
        scattered = [shard for shard in sorted([*pending, *self.again]) if shard not in kept]
        known = shared_rows(self.spec, scattered, self.alike)
        linked = sum(stop - start for start, stop in map(self.spec.rows, set(self.pending) & whole.keys()))
        return Work(self.spec, sorted([*pending, *self.again]), kept, known, taken=len(known) + linked)

    def planned(self) -> Work:
        """What has to be computed if all can be had that is offered."""
        kept = {shard: offer.record for shard, offer in self.offered.items()}
        whole = {shard: record for shard, record in kept.items() if not missing_parts(self.spec, record)}
        return self.work(kept, whole)


def mended(
    source: Source, spec: StoreSpec, records: Mapping[int, Record], settings: ExtractSettings, on_error: OnError
) -> list[int]:
    """Shards with quarantined samples that can be used now.

    Raises:
        SpaceClipError: One of them still cannot, and `on_error` is `stop`.
    """
    bad = [(shard, sample.row) for shard, record in sorted(records.items()) for sample in record.quarantined]
    tried = each_sample(source, spec, [row for _, row in bad], settings.threads_here(), lambda _sample: True)
    found = [outcome for outcome in tried if isinstance(outcome, SpaceClipError)]
    if found and on_error == "stop":
        raise found[0]
    return sorted({shard for (shard, _), outcome in zip(bad, tried, strict=True) if outcome is True})


def _beside(store: Location, split: str) -> list[Location]:
    """Other stores of the same split, as it was before images were mended, replaced or added."""
    names = [name for name in place_at(store.parent).names() if name.startswith(f"{split}-") and name.endswith(".zarr")]
    return [store.parent / name for name in names if name != store.name]
