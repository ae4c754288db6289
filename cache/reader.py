"""Reading a store. The ledger comes first: what has no record is not there, whatever Zarr would return for it."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from .description import StoreDescription
from .errors import StoreError, UnreadableError
from .format.arrays import part_name
from .format.identity import require_same
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

    @property
    @override
    def stores(self) -> "Sequence[FeatureCache]":
        return (self,)

    @property
    @override
    def blocks(self) -> NDArray[np.int64]:
        return np.arange(self._count) // self.shard

    @override
    def located(self, index: int) -> "tuple[FeatureCache, int]":
        if not 0 <= index < self._count:
            raise IndexError(f"row {index} of a store of {self._count}")
        return self, index

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
            checksums = partial(_checksums, self.path, self.records, views)
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


def _checksums(
    where: Location | str, records: Mapping[int, Record], views: Sequence[str], shard: int, view: int
) -> bytes:
    """What the ledger says of each row of an array's object."""
    if shard not in records:
        raise StoreError(f"{where}: shard {shard} is not extracted yet; run the same `spaceclip extract` again")
    return records[shard].row_checksums(views[view])
