"""The features of a split as training and evaluation read them, whether they lie in one store or in several."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import StoreError
from .format.arrays import DEPTH, GROUND_TRUTH, GROUND_TRUTH_SIZE, IMAGE, POOLED, layer_array, scales_array
from .format.identity import Counts, Storage
from .format.int8 import restore
from .places.location import Location

if TYPE_CHECKING:
    from .reader import FeatureCache

THREADS = 4


class Features(ABC):
    """Features, depth and pictures by row, 0 to `len(features) - 1`; reading is safe from many threads.

    Attributes:
        path: Where they lie, for messages.
        fingerprint: Of the identity.
        identity: What they are (see `StoreSpec.identity`).
        about: What is known of their data set.
    """

    def __init__(self, path: Location | str, fingerprint: str, identity: dict[str, Any], about: dict[str, Any]) -> None:
        self.path, self.fingerprint, self.identity, self.about = path, fingerprint, identity, about
        self.layers = tuple(identity["layers"])
        self.views = tuple(identity["views"])
        self._count = int(identity["samples"]["count"])

    def __len__(self) -> int:
        return self._count

    @property
    @abstractmethod
    def stores(self) -> "Sequence[FeatureCache]":
        """The stores that hold the rows, one after the other."""

    @abstractmethod
    def located(self, index: int) -> "tuple[FeatureCache, int]":
        """The store that holds a row, and its number there.

        Raises:
            IndexError: There is no such row.
        """

    @cached_property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of what they are: with one digest are the same bytes."""

    @property
    @abstractmethod
    def quarantined(self) -> dict[int, str]:
        """Rows of samples that could not be used, with the reason; they hold zeros, and are in no batch."""

    @property
    @abstractmethod
    def sample_ids(self) -> list[str]:
        """Ids of the samples."""

    @property
    @abstractmethod
    def scenes(self) -> list[str | None]:
        """Scenes of the samples."""

    @property
    @abstractmethod
    def blocks(self) -> NDArray[np.int64]:
        """For each row the number of the shard that it lies in, ascending."""

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that are not quarantined, ascending."""
        return np.setdiff1d(np.arange(len(self)), list(self.quarantined), assume_unique=True)

    @property
    def storage(self) -> Storage:
        """How hidden states are kept."""
        return self.identity["tokens"]["storage"]

    @property
    def features_identity(self) -> dict[str, Any]:
        """The part of the identity that another split must share to be used beside this one."""
        return {name: self.identity[name] for name in ("backbone", "preprocessing", "tokens")}

    @property
    def has_depth(self) -> bool:
        """Whether depth was stored."""
        return self.identity["depth"] is not None

    @property
    def depth_size(self) -> tuple[int, int]:
        """(height, width) of the training targets."""
        height, width = self._depth_field("size")
        return height, width

    @property
    def native_size(self) -> tuple[int, int]:
        """(height, width) that holds every ground truth at its own size."""
        height, width = self._depth_field("native") or self.depth_size
        return height, width

    @property
    def depth_counts(self) -> Counts:
        """Type of the counts that depth is kept in."""
        return self._depth_field("counts")

    @property
    def depth_unit(self) -> float:
        """Metres of one count."""
        return self._depth_field("unit")

    def require(self, layers: Sequence[int], *, depth: bool) -> None:
        """Refuse a store that lacks what is about to be read.

        Raises:
            StoreError: Names what is lacking, and what is there.
        """
        if absent := [layer for layer in layers if layer not in self.layers]:
            states = self.about.get("hidden_states", max(layers) + 1)
            both = ",".join(map(str, sorted({*self.layers, *layers})))
            remedy = f"choose among those or extract again (`spaceclip extract --layers {both}`)"
            if max(layers) >= states:
                remedy = f"its encoder has 0 to {states - 1}; choose among those"
            raise StoreError(f"{self.path}: lacks the hidden states {absent}, it holds {list(self.layers)}; {remedy}")
        if depth:
            self._depth_field("size")

    def _depth_field(self, name: str) -> Any:
        if not self.has_depth:
            raise StoreError(f"{self.path}: holds images without depth; extract it with --depth to train or evaluate")
        return self.identity["depth"][name]

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
        for layer, rows in out.items():
            if self.storage == "float16":
                self._read(layer_array(layer), rows[at], index, view)
                continue
            steps, scale = np.empty(rows.shape[1:], np.int8), np.empty(rows.shape[2], np.float32)
            self._read(layer_array(layer), steps, index, view)
            self._read(scales_array(layer), scale, index, view)
            restore(steps, scale, rows[at])

    def pooled(self, indices: Sequence[int], view: str = "plain") -> NDArray[np.float32]:
        """Pooled class tokens [B, C] float32."""
        out = np.empty((len(indices), self.identity["tokens"]["channels"]), np.float32)
        for at, index in enumerate(indices):
            self._read(POOLED, out[at], index, view)
        return out

    def depth(self, index: int) -> NDArray[np.float32]:
        """Training target of one sample: [H, W] metres, 0 where nothing was measured."""
        return self._metres(self._read(DEPTH, np.empty(self.depth_size, self.depth_counts), index))

    def ground_truth(self, index: int) -> NDArray[np.float32]:
        """Depth of one sample at its native size: [H, W] metres, 0 where nothing was measured."""
        store, _ = self.located(index)
        counts = np.empty(store.native_size, self.depth_counts)
        height, width = self.ground_truth_size(index)
        return self._metres(self._read(store.native_array, counts, index)[:height, :width])

    def ground_truth_size(self, index: int) -> tuple[int, int]:
        """Height and width of one sample's depth at its native size."""
        store, _ = self.located(index)
        if store.native_array == DEPTH:
            return self.depth_size
        height, width = self._read(GROUND_TRUTH_SIZE, np.empty(2, np.int32), index).tolist()
        return height, width

    @property
    def native_array(self) -> str:
        """Name of the array that holds depth at its native size."""
        return GROUND_TRUTH if self._depth_field("native") else DEPTH

    def image(self, index: int) -> NDArray[np.uint8]:
        """The encoder's input before normalisation: [h, w, 3] RGB."""
        height, width = self.identity["image_size"]
        return self._read(IMAGE, np.empty((height, width, 3), np.uint8), index)

    def _read(self, name: str, out: NDArray[Any], index: int, view: str | None = None) -> NDArray[Any]:
        """Read a sample's chunk of an array, of a view where views divide it; returns where it was read to."""
        store, row = self.located(index)
        store.array(name).read_into(out, row, 0 if view is None else store.view_number(view))
        return out

    def view_number(self, view: str) -> int:
        """Index of a view.

        Raises:
            StoreError: There is none of this name.
        """
        if view not in self.views:
            raise StoreError(f"{self.path}: no view {view!r}; it holds {', '.join(self.views)}")
        return self.views.index(view)

    def _metres(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        return (counts * self.depth_unit).astype(np.float32)
