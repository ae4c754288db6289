"""What becomes of a store's parts in a copy: the same bytes, or hidden states in int8 with their scales."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from ..errors import StoreError
from ..format.arrays import Part, identity_parts, layer_array, parts, scales_array
from ..format.identity import Storage, StoreSpec
from ..format.int8 import quantise
from ..format.ledger import Record
from ..format.objects import PlainObject, Sealed, stored_rows
from ..format.shard import shard_bytes
from ..places.place import Stored
from ..reader import FeatureCache


@dataclass(frozen=True)
class Conversion:
    """How a copy differs from its original.

    Attributes:
        identity: The original's.
        spec: What the copy holds.
    """

    identity: Mapping[str, Any]
    spec: StoreSpec

    @classmethod
    def of(cls, source: FeatureCache, storage: Storage | None) -> Self:
        """To another way to keep hidden states; None for that of the original.

        Raises:
            StoreError: It cannot be had from what the original holds.
        """
        if storage == "float16" != source.storage:
            raise StoreError(
                f"{source.path}: holds hidden states in {source.storage}, of which no {storage} can be made; copy the "
                "store that it was made from, or extract it"
            )
        return cls(source.identity, StoreSpec.of(source.identity, source.entries, storage))

    def name(self, source: FeatureCache, split: str) -> str:
        """Name of the copy's folder."""
        return f"{split}-{self.spec.fingerprint}.zarr" if self._changed else source.path.name

    def unchanged(self, record: Record) -> Record:
        """What the copy's record of a shard says as the original's does."""
        return replace(record.only(self._unchanged), fingerprint=self.spec.fingerprint)

    def record(self, record: Record, name: str, made: Sealed) -> Record:
        """What the copy's record of a shard says of one converted object: no statistics, which stay with the values."""
        return Record(
            *(self.spec.fingerprint, record.shard, record.start, record.stop),
            {name: Stored.of(made.content)},
            {},
            record.quarantined,
            {name: made.checksums},
        )

    def converted(self, record: Record, name: str, content: bytes) -> dict[str, Sealed]:
        """The copy's objects, by part, that are made of one of the original's; none where that is kept as it is."""
        if name not in self._changed:
            return {}
        rows, mine, made = record.stop - record.start, parts(self.spec), {}
        states = stored_rows(content, self._originals[name].layout, rows)
        for part, values in zip((name, self._changed[name]), quantise(states), strict=True):
            stored = PlainObject(mine[part].layout, self.spec.shard)
            stored.rows[:rows] = values
            made[part] = stored.seal(rows)
        return made

    def predicted_bytes(self, record: Record) -> int:
        """Size of the copy's objects of a shard."""
        rows, size = record.stop - record.start, 0
        for name, part in parts(self.spec).items():
            if name in self._unchanged:
                size += record.objects[name].bytes
            else:
                size += shard_bytes(part.layout, rows, self.spec.shard)
        return size

    @cached_property
    def _originals(self) -> dict[str, Part]:
        return identity_parts(self.identity)

    @cached_property
    def _changed(self) -> dict[str, str]:
        """By name of each part that is converted, the name of the part that gets its scales."""
        if self.spec.storage == self.identity["tokens"]["storage"]:
            return {}
        names = {layer_array(layer): scales_array(layer) for layer in self.spec.layers}
        found = {name: part.array for name, part in self._originals.items() if part.array in names}
        return {name: names[array] + name.removeprefix(array) for name, array in found.items()}

    @cached_property
    def _unchanged(self) -> set[str]:
        return self._originals.keys() - self._changed.keys()
