"""A shard in memory: the objects of all its parts, and what its record will say of their values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from .arrays import DEPTH, IMAGE, arrays, parts
from .identity import StoreSpec
from .objects import Allocate, CompressedObject, Moments, PlainObject, host_memory
from .shard import shard_bytes
from .statistics import MeasuredDepth, content_hash, depth_range, layer_statistics, measured_depth, row_moments


def feature_objects(
    spec: StoreSpec, allocate: Allocate = host_memory, moments: Moments = row_moments
) -> dict[str, PlainObject]:
    """Room for what the encoder gives of one shard, by part; most of a shard, and used again for the next."""
    return {
        name: PlainObject(part.layout, spec.shard, allocate, moments)
        for name, part in parts(spec).items()
        if part.layout.by_view
    }


def feature_bytes(spec: StoreSpec) -> int:
    """Bytes of `feature_objects`."""
    layouts = [part.layout for part in parts(spec).values() if part.layout.by_view]
    return sum(shard_bytes(layout, spec.shard, spec.shard) for layout in layouts)


def depth_bytes(spec: StoreSpec) -> int:
    """Bytes of one training target."""
    return math.prod(spec.depth.size) * np.dtype(spec.depth.counts).itemsize if spec.depth else 0


class ShardBuffer:
    """One shard in memory.

    Args:
        spec: What the store holds.
        features: Room for what the encoder gives; may be given later, before it is needed.

    Attributes:
        features: By part, what the encoder gave.
        samples: By part, what needs no encoder: image, depth, ground truth.
        contents: By part, a hash of each row's values, for `image` and `depth`.
        measured: What is measured of each row's depth.
    """

    def __init__(self, spec: StoreSpec, features: dict[str, PlainObject] | None = None) -> None:
        self.features, self._spec, self._parts = features or {}, spec, parts(spec)
        self.samples = {
            name: CompressedObject(spec.shard) if part.layout.compressed else PlainObject(part.layout, spec.shard)
            for name, part in self._parts.items()
            if not part.layout.by_view
        }
        self.contents = {name: [""] * spec.shard for name in self.samples if name in (IMAGE, DEPTH)}
        self.measured: list[MeasuredDepth | None] = [None] * spec.shard

    @classmethod
    def of(cls, spec: StoreSpec, shard: int, block: Mapping[str, NDArray[Any]], names: Sequence[str]) -> "ShardBuffer":
        """With the rows of some parts of a shard, from a block that holds those of whole arrays.

        Raises:
            StoreError: The block is of another shape or type.
        """
        _check_block(spec, shard, block)
        buffer = cls(spec, feature_objects(spec))
        for name in names:
            for at, row in enumerate(buffer._parts[name].of(block)):
                buffer.put(name, at, row)
        return buffer

    def put(self, name: str, at: int, row: NDArray[Any]) -> None:
        """Put one row of a part. Rows may be put from many threads."""
        if name in self.features:
            self.features[name].put(at, row)
            return
        self.samples[name].put(at, row)
        if name in self.contents:
            self.contents[name][at] = content_hash(row)
        if name == DEPTH:
            self.measured[at] = measured_depth(row)

    def clear(self, names: Iterable[str], at: int) -> None:
        """Put zeros into one row of some parts."""
        for name in names:
            layout = self._parts[name].layout
            self.put(name, at, np.zeros(layout.row, layout.dtype))

    def statistics(self, name: str, shard: int, sound: NDArray[np.intp]) -> Mapping[str, float] | None:
        """What a shard's record says of the values of a part's sound rows; None where it says nothing.

        Raises:
            StoreError: Some of them are not finite.
        """
        if name == DEPTH and self._spec.depth:
            found = depth_range([self.measured[at] for at in sound], self._spec.depth.unit)
            return found and found._asdict()
        if name not in self.features or not len(sound):
            return None
        feature = self.features[name]
        rows = feature.rows
        if feature.moments is not None:
            statistics = layer_statistics(feature.moments[sound], rows[0].size)
            if statistics:
                return statistics
            bad = ~np.isfinite(rows[sound])
            first = self._spec.rows(shard)[0] + int(sound[np.argmax(bad.reshape(len(sound), -1).any(axis=1))])
            raise StoreError(
                f"{name}: {int(bad.sum())} of {bad.size} values do not fit float16 (first at row {first}); nothing of "
                "this shard was committed: compute in float32 or bfloat16, or leave this layer out"
            )
        if rows.dtype == np.float32 and not np.isfinite(rows[sound]).all():
            raise StoreError(
                f"{name}: shard {shard} holds values that are not finite; nothing of it was committed: "
                "compute in float32 or bfloat16"
            )
        return None

    def object(self, name: str) -> PlainObject | CompressedObject:
        """The object of a part."""
        return self.features[name] if name in self.features else self.samples[name]


def _check_block(spec: StoreSpec, shard: int, block: Mapping[str, NDArray[Any]]) -> None:
    layout, (start, stop) = arrays(spec), spec.rows(shard)
    if set(block) != set(layout):
        raise StoreError(f"a shard needs the arrays {sorted(layout)}, got {sorted(block)}")
    for name, array in layout.items():
        wanted = (stop - start, *array.shape[1:])
        if block[name].shape != wanted or block[name].dtype != array.dtype:
            raise StoreError(
                f"{name}: a whole shard {wanted} of {array.dtype} is wanted, "
                f"got {block[name].shape} of {block[name].dtype}"
            )
