"""Reading a store. The ledger comes first: what has no record is not there, whatever Zarr would return for it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .description import StoreDescription
from .errors import StoreError, UnreadableError
from .format.arrays import (
    DEPTH,
    GROUND_TRUTH,
    GROUND_TRUTH_SIZE,
    IMAGE,
    POOLED,
    layer_array,
    part_name,
    scales_array,
)
from .format.identity import require_same
from .format.int8 import restore
from .format.ledger import Record, expected_objects, read_ledger
from .format.metadata import GROUP, metadata_damage, read_attributes
from .format.shard import ShardedArray, is_sound
from .places.local_copy import LocalCopy
from .places.location import Location
from .places.opening import place_at
from .places.place import Place
from .pointer import resolve

if TYPE_CHECKING:
    import zarr

THREADS = 4


class FeatureCache(StoreDescription):
    """The features, depth and pictures of one extracted split; nothing of the data set itself is needed any more.

    Made by `FeatureCache.open`. Rows are addressed by index 0 to `len(cache) - 1`, views and layers by name and number.
    Reading is safe from many threads.
    """

    def __init__(self, place: Place, attributes: Mapping[str, Any], records: Mapping[int, Record]) -> None:
        super().__init__(place, attributes, records)
        self._arrays: dict[str, ShardedArray] = {}

    @classmethod
    def open(
        cls,
        path: str | Location,
        expect: Mapping[str, Any] | None = None,
        *,
        allow_incomplete: bool = False,
        local_copy: Path | None = None,
    ) -> Self:
        """Open a store for reading.

        Args:
            path: The store, the pointer that extraction left, or a folder with one pointer in it; a path or a URL.
            expect: Identity fields that the store must have, some or all (see `StoreSpec.identity`).
            allow_incomplete: Open a store with shards missing; reading one of those still fails.
            local_copy: Folder that keeps what is read of a store in a bucket, so that it is fetched once.

        Raises:
            StoreError: No store is there, it is incomplete, its metadata was altered, it is not the one the pointer
                means, or a field of `expect` differs.
        """
        found = resolve(path)
        store, pointer, _ = found
        place = place_at(store)
        attributes = read_attributes(place)
        if attributes is None:
            raise StoreError(f"{store}: no feature store is there; run `spaceclip extract` to make it")
        found.require_role(attributes["about"])
        if expect is not None:
            require_same(attributes["identity"], expect, str(store))
        try:
            records = read_ledger(place, attributes["fingerprint"])
        except OSError as error:
            raise UnreadableError.of(store, error) from error
        if local_copy is not None:
            place = LocalCopy(place, local_copy, expected_objects(attributes["identity"], records), is_sound)
        cache = cls(place, attributes, records)
        missing = cache.shards - len(records)
        if missing and not allow_incomplete:
            raise StoreError(
                f"{store}: incomplete, {missing} of {missing + len(records)} shards are missing; "
                "run the same `spaceclip extract` again to finish it"
            )
        digest = None if missing else cache.digest
        if pointer is not None and not pointer.matches(cache.fingerprint, len(cache), digest):
            raise StoreError(
                f"{store}: its content is not what the pointer {path} was written for; run `spaceclip extract` again"
            )
        return cache

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without what it has opened, for workers that are spawned."""
        attributes = {"identity": self.identity, "fingerprint": self.fingerprint, "about": self.about}
        return type(self), (self.place, attributes, self.records)

    def states(
        self, indices: Sequence[int], view: str = "plain", layers: Sequence[int] | None = None
    ) -> dict[int, NDArray[np.float16]]:
        """Patch tokens of hidden states: for each layer (all by default) [B, P, C] float16.

        Where they are stored in int8 they are multiplied by their scales.
        """
        tokens = self.identity["tokens"]
        shape = (len(indices), tokens["patches"], tokens["channels"])
        out = {layer: np.empty(shape, np.float16) for layer in (self.layers if layers is None else layers)}
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda at: self.states_into(at[0], at[1], view, out), enumerate(indices)))
        return out

    def states_into(self, at: int, index: int, view: str, out: Mapping[int, NDArray[np.float16]]) -> None:
        """Read one sample's hidden states into row `at` of the arrays given by layer."""
        if self.storage == "float16":
            self.stored_into(at, index, view, out, {})
            return
        for layer, rows in out.items():
            steps, scale = np.empty((1, *rows.shape[1:]), np.int8), np.empty((1, rows.shape[2]), np.float32)
            self.stored_into(0, index, view, {layer: steps}, {layer: scale})
            restore(steps[0], scale[0], rows[at])

    def stored_into(
        self,
        at: int,
        index: int,
        view: str,
        states: Mapping[int, NDArray[Any]],
        scales: Mapping[int, NDArray[np.float32]],
    ) -> None:
        """Read one sample's hidden states as they are stored, and their scales, into row `at` of the arrays given.

        Args:
            at: Row of the arrays.
            index: Row of the store.
            view: Name of the view.
            states: By layer, [B, P, C] of `storage`.
            scales: By layer, [B, C]; only for a storage of `int8`, whose steps they are multiplied by.
        """
        number = self._view(view)
        for arrays, name in ((states, layer_array), (scales, scales_array)):
            for layer, rows in arrays.items():
                self._array(name(layer), index).read_into(rows[at], index, number)

    def pooled(self, indices: Sequence[int], view: str = "plain") -> NDArray[np.float32]:
        """Pooled class tokens [B, C] float32."""
        out = np.empty((len(indices), self.identity["tokens"]["channels"]), np.float32)
        for at, index in enumerate(indices):
            self.pooled_into(out[at], index, view)
        return out

    def pooled_into(self, out: NDArray[np.float32], index: int, view: str) -> None:
        """Read the pooled class token [C] of one sample."""
        self._array(POOLED, index).read_into(out, index, self._view(view))

    def depth(self, index: int) -> NDArray[np.float32]:
        """Training target of one sample: [H, W] metres, 0 where nothing was measured."""
        counts = np.empty(self.depth_size, self.depth_counts)
        self.depth_into(counts, index)
        return self._metres(counts)

    def depth_into(self, out: NDArray[Any], index: int) -> None:
        """Read the training target of one sample as it is stored: [H, W] counts of `depth_unit`, of `depth_counts`."""
        self._array(DEPTH, index).read_into(out, index)

    def ground_truth(self, index: int) -> NDArray[np.float32]:
        """Depth of one sample at its native size: [H, W] metres, 0 where nothing was measured."""
        counts = np.empty(self.native_size, self.depth_counts)
        self.ground_truth_into(counts, index)
        height, width = self.ground_truth_size(index)
        return self._metres(counts[:height, :width])

    def ground_truth_into(self, out: NDArray[Any], index: int) -> None:
        """Likewise as it is stored: [H, W] counts of `native_size`, in whose first rows and columns it lies."""
        self._array(GROUND_TRUTH if self._depth_field("native") else DEPTH, index).read_into(out, index)

    def ground_truth_size(self, index: int) -> tuple[int, int]:
        """Height and width of one sample's depth at its native size."""
        if self._depth_field("native") is None:
            return self.depth_size
        size = np.empty(2, np.int32)
        self._array(GROUND_TRUTH_SIZE, index).read_into(size, index)
        return int(size[0]), int(size[1])

    def image(self, index: int) -> NDArray[np.uint8]:
        """The encoder's input before normalisation: [h, w, 3] RGB."""
        height, width = self.identity["image_size"]
        out = np.empty((height, width, 3), np.uint8)
        self._array(IMAGE, index).read_into(out, index)
        return out

    def _metres(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        return (counts * self.depth_unit).astype(np.float32)

    def _view(self, view: str) -> int:
        if view not in self.views:
            raise StoreError(f"{self.path}: no view {view!r}; it holds {', '.join(self.views)}")
        return self.views.index(view)

    def _array(self, name: str, index: int) -> ShardedArray:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a store of {len(self)}")
        if index // self.shard not in self.records:
            raise StoreError(f"{self.path}: row {index} is not extracted yet; run the same `spaceclip extract` again")
        return self.array(name)

    def array(self, name: str) -> ShardedArray:
        """One array by name, as `layers/3`, for reading by row whatever the ledger says of it.

        Raises:
            UnreadableError: The store gives no answer.
            StoreError: The store has none of this name, or its metadata is damaged.
        """
        if name not in self._arrays:
            if name not in self._layout:
                held = ", ".join(str(layer) for layer in self.layers)
                raise StoreError(
                    f"{self.path}: has no {name}; it holds the hidden states {held}: extract the one wanted"
                )
            self._check(name)
            layout = self._layout[name]
            views = [part_name(name, view) for view in self.views] if layout.by_view else [name]
            # Nothing in it leads back here: its files are closed as soon as nobody has the store any more.
            checksums = partial(_checksums, self.records, views)
            self._arrays[name] = ShardedArray(self.place, name, layout, self.shard, checksums)
        return self._arrays[name]

    @cached_property
    def zarr(self) -> "zarr.Group":
        """The store as any Zarr program sees it, through Zarr's own store classes.

        Zarr knows nothing of the ledger: it gives zeros for what was never written.
        """
        import zarr

        return zarr.open_group(self.place.zarr(), mode="r", zarr_format=3)

    def _check(self, name: str) -> None:
        """Refuse an array whose Zarr metadata is not what the identity asks for."""
        key = f"{name}/{GROUP}"
        if kind := metadata_damage(self.place, self.identity, key):
            reason = "not what the store's identity asks for" if kind == "altered" else kind
            raise StoreError(f"{self.path}/{key}: damaged ({reason}); run `spaceclip cache repair` on the store")


def _checksums(records: Mapping[int, Record], views: Sequence[str], shard: int, view: int) -> bytes:
    """What the ledger says of each row of an array's object."""
    return records[shard].row_checksums(views[view])
