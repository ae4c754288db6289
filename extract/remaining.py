"""What of a store has yet to be computed, once all that is known already is taken over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from ..cache import FeatureCache, Location, Record, ShardBuffer, StoreSpec, parts

Known = tuple[Record | None, Mapping[int, tuple[Location, int]]]
"""Of one shard: the parts that it has already, and rows that another store has."""

NOTHING: Known = (None, {})


@dataclass(frozen=True)
class Work:
    """Shards to be written, and what of them is known.

    Attributes:
        spec: What the store holds.
        shards: Without a record, ascending.
        kept: For some of them, the parts whose objects are there already.
        known: Rows that are copied from another store: its place, and the row there.
        donor: Opens such a store.
        taken: Images that other stores have whole, in rows that are copied and in shards that are linked.
    """

    spec: StoreSpec
    shards: list[int]
    kept: Mapping[int, Record] = field(default_factory=dict)
    known: Mapping[int, tuple[Location, int]] = field(default_factory=dict)
    donor: Callable[[Location], FeatureCache] = field(default_factory=lambda: donors())
    taken: int = 0

    @classmethod
    def all_of(cls, spec: StoreSpec) -> "Work":
        """The whole store."""
        return cls(spec, list(range(spec.shards)))

    def rows(self, shard: int) -> list[int]:
        """Rows of a shard that have to be computed."""
        return [row for row in range(*self.spec.rows(shard)) if row not in self.known]

    def count(self, shard: int) -> int:
        """How many rows of a shard have to be computed."""
        start, stop = self.spec.rows(shard)
        return stop - start - (sum(row in self.known for row in range(start, stop)) if self.known else 0)

    def known_of(self, shard: int) -> Known:
        """What of one shard is known: few bytes, to be sent to who computes it."""
        rows = range(*self.spec.rows(shard))
        return self.kept.get(shard), {row: self.known[row] for row in rows if row in self.known}

    def missing(self, shard: int) -> frozenset[str]:
        """Parts of a shard that have to be written."""
        kept = self.kept.get(shard)
        return self._parts if kept is None else self._parts.difference(kept.objects)

    @cached_property
    def _parts(self) -> frozenset[str]:
        return frozenset(parts(self.spec))

    @cached_property
    def images(self) -> int:
        """Rows to be computed in all."""
        whole = sum(stop - start for start, stop in map(self.spec.rows, self.shards))
        return whole - len(self.known)

    def copy_known(self, shard: int, buffer: ShardBuffer) -> None:
        """Copy the known rows of a shard into its buffer.

        Raises:
            StoreError: A store that they come from is damaged.
        """
        start, stop = self.spec.rows(shard)
        for row in filter(self.known.__contains__, range(start, stop)):
            store, there = self.known[row]
            donor = self.donor(store)
            for name, part in parts(self.spec).items():
                values = np.empty(part.layout.row, part.layout.dtype)
                donor.array(part.array).read_into(values, there, donor.parts[name].view)
                buffer.put(name, row - start, values)


def donors() -> Callable[[Location], FeatureCache]:
    """Opens stores, each once."""
    return cache(lambda store: FeatureCache.open(store, allow_incomplete=True))
