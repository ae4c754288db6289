"""What becomes of a store's parts in a copy: the same bytes, or hidden states in int8 with their scales."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .errors import StoreError
from .layout import Part, identity_parts, layer_array, parts, scales_array
from .ledger import Record
from .place import Stored
from .quantise import quantise
from .reader import FeatureCache
from .shardfile import encode_shard
from .spec import DepthSpec, StoreSpec

_PAIR, _CRC = 16, 4


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
    def of(cls, source: FeatureCache, storage: Literal["float16", "int8"] | None) -> Self:
        """To another way to keep hidden states; None for that of the original.

        Raises:
            StoreError: It cannot be had from what the original holds.
        """
        held = source.identity["tokens"]["storage"]
        if storage == "float16" != held:
            raise StoreError(
                f"{source.path}: holds hidden states in {held}, of which no {storage} can be made; copy the store that "
                "it was made from, or extract it"
            )
        return cls(source.identity, _spec(source, storage or held))

    def name(self, source: FeatureCache, split: str) -> str:
        """Name of the copy's folder."""
        return f"{split}-{self.spec.fingerprint}.zarr" if self._changed else source.path.name

    def record(self, original: Record, objects: Mapping[str, Stored]) -> Record:
        """The copy's record of a shard.

        Statistics stay with the values that they were taken of.
        """
        if not self._changed:
            return original
        return replace(original, fingerprint=self.spec.fingerprint, objects=objects, statistics={})

    def kept(self, record: Record) -> tuple[Any, ...]:
        """What a shard's records say alike, the original's and the copy's."""
        objects = {name: stored for name, stored in record.objects.items() if name in self._unchanged}
        return record.start, record.stop, record.quarantined, objects

    def contents(self, record: Record, name: str, content: bytes) -> dict[str, bytes]:
        """The copy's objects, by part, that come of one object of the original."""
        if name not in self._changed:
            return {name: content}
        part, rows, images = self._originals[name], record.stop - record.start, self.spec.shard
        steps, scales = quantise(decoded(content, part, rows, images))
        there = self._changed[name]
        return {
            name: encode_shard(steps, images, compressed=False),
            there: encode_shard(scales, images, compressed=False),
        }

    def predicted_bytes(self, record: Record) -> int:
        """Size of the copy's objects of a shard."""
        rows, size = record.stop - record.start, 0
        for name, part in parts(self.spec).items():
            if name in self._unchanged:
                size += record.objects[name].bytes
            else:
                chunk = int(np.prod(part.layout.chunk)) * np.dtype(part.layout.dtype).itemsize
                size += rows * (chunk + _CRC) + self.spec.shard * _PAIR + _CRC
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


def decoded(content: bytes, part: Part, rows: int, images: int) -> NDArray[Any]:
    """The rows [n, ...] of one view that an object of uncompressed chunks holds; its hash has been checked."""
    shape = part.layout.chunk[2:] if part.layout.by_view else part.layout.chunk[1:]
    size = int(np.prod(shape))
    index = np.frombuffer(content, "<u8", 2 * images, len(content) - images * _PAIR - _CRC).reshape(images, 2)
    chunks = [np.frombuffer(content, part.layout.dtype, size, int(start)) for start, _ in index[:rows]]
    return np.stack(chunks).reshape(rows, *shape)


def _spec(source: FeatureCache, storage: Literal["float16", "int8"]) -> StoreSpec:
    held, depth = source.identity, source.identity["depth"]
    native = depth and depth["native"]
    return StoreSpec(
        backbone=held["backbone"],
        preprocessing=held["preprocessing"],
        layers=tuple(held["layers"]),
        views=tuple(held["views"]),
        patches=held["tokens"]["patches"],
        channels=held["tokens"]["channels"],
        image_size=tuple(held["image_size"]),
        depth=DepthSpec(depth["unit"], tuple(depth["size"]), tuple(native) if native else None) if depth else None,
        entries=source.entries,
        shard=held["shard"],
        storage=storage,
    )
