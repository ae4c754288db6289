"""Several stores read as one: a big data set that was extracted in parts."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from .errors import StoreError
from .features import Features
from .format.identity import require_same
from .reader import FeatureCache


class JoinedCaches(Features):
    """The rows of several stores, one store after the other; of layers and views, those that all of them have.

    Args:
        stores: At least one, of one encoder, preprocessing, storage, and unit, size and type of depth.

    Raises:
        StoreError: They differ in one of these, or one is given twice.
    """

    def __init__(self, stores: Sequence[FeatureCache]) -> None:
        first = stores[0]
        # Where ground truth is read at its native size, that is compared (see `native_size`).
        depth = {name: of for name, of in (first.identity["depth"] or {}).items() if name != "native"}
        alike = {**first.features_identity, "image_size": first.identity["image_size"], "depth": depth or None}
        for number, store in enumerate(stores):
            if twice := [other.path for other in stores[:number] if other.digest == store.digest]:
                raise StoreError(f"{store.path} holds the same as {twice[0]}: give each store once")
            require_same(store.identity, alike, f"{store.path}, given beside {first.path},")
        identity = {
            **first.identity,
            "samples": {
                "count": sum(map(len, stores)),
                "sha256": _digest(store.identity["samples"]["sha256"] for store in stores),
            },
        }
        for name in ("layers", "views"):
            identity[name] = [one for one in identity[name] if all(one in store.identity[name] for store in stores)]
        path, fingerprint = f"{first.path} and {len(stores) - 1} more", _digest(store.fingerprint for store in stores)
        super().__init__(path, fingerprint[:12], identity, first.about)
        self._stores = tuple(stores)
        self._starts = [0, *accumulate(map(len, stores))]

    @property
    @override
    def stores(self) -> Sequence[FeatureCache]:
        return self._stores

    @override
    def located(self, index: int) -> tuple[FeatureCache, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)} in {len(self._stores)} stores")
        number = bisect_right(self._starts, index) - 1
        return self._stores[number], index - self._starts[number]

    @cached_property
    @override
    def digest(self) -> str:
        return _digest(store.digest for store in self._stores)

    @property
    @override
    def quarantined(self) -> dict[int, str]:
        pairs = zip(self._stores, self._starts, strict=False)
        return {start + row: reason for store, start in pairs for row, reason in store.quarantined.items()}

    @property
    @override
    def sample_ids(self) -> list[str]:
        return [one for store in self._stores for one in store.sample_ids]

    @property
    @override
    def scenes(self) -> list[str | None]:
        return [one for store in self._stores for one in store.scenes]

    @property
    @override
    def blocks(self) -> NDArray[np.int64]:
        shards = np.cumsum([0, *(store.shards for store in self._stores)])
        return np.concatenate([first + store.blocks for first, store in zip(shards, self._stores, strict=False)])

    @property
    @override
    def native_size(self) -> tuple[int, int]:
        for store in self._stores[1:]:
            if store.native_size != self._stores[0].native_size:
                raise StoreError(
                    f"{store.path}: its ground truth is kept in {store.native_size}, that of {self._stores[0].path} in "
                    f"{self._stores[0].native_size}: validate on one of them"
                )
        return super().native_size


def joined(stores: Sequence[FeatureCache]) -> Features:
    """One store or several as one."""
    return stores[0] if len(stores) == 1 else JoinedCaches(stores)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
