"""What a store says of itself, by its identity, list of samples and ledger; none of its arrays is read."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StoreError
from .format.arrays import DEPTH, IMAGE, identity_arrays, identity_parts
from .format.identity import Counts, Entry, Storage
from .format.ledger import Record, ledger_digest
from .format.metadata import read_samples
from .format.statistics import HASH_DIGITS, DepthRange, content_hash
from .places.place import Place


class StoreDescription:
    """What is known of a store before it is read (see `FeatureCache`)."""

    def __init__(self, place: Place, attributes: Mapping[str, Any], records: Mapping[int, Record]) -> None:
        self.place, self.path = place, place.location
        self.identity: dict[str, Any] = attributes["identity"]
        self.fingerprint: str = attributes["fingerprint"]
        self.about: dict[str, Any] = attributes["about"]
        self.records = records
        self.layers = tuple(self.identity["layers"])
        self.views = tuple(self.identity["views"])
        self.shard = int(self.identity["shard"])
        self.parts = identity_parts(self.identity)
        self._layout = identity_arrays(self.identity)

    def __len__(self) -> int:
        return int(self.identity["samples"]["count"])

    @property
    def shards(self) -> int:
        """Number of shards that a whole store has."""
        return -(-len(self) // self.shard)

    @property
    def storage(self) -> Storage:
        """How hidden states are kept."""
        return self.identity["tokens"]["storage"]

    @property
    def features_identity(self) -> dict[str, Any]:
        """The part of the identity that another split must share to be used beside this one."""
        return {name: self.identity[name] for name in ("backbone", "preprocessing", "tokens")}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the ledger: two complete stores with one digest hold the same bytes."""
        return ledger_digest(self.records)

    @cached_property
    def entries(self) -> list[Entry]:
        """The samples, in the order of the rows.

        Raises:
            UnreadableError: The store gives no answer.
            StoreError: The list was altered.
        """
        return read_samples(self.place, self.identity)

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples."""
        return [entry.id for entry in self.entries]

    @property
    def scenes(self) -> list[str | None]:
        """Scenes of the samples."""
        return [entry.scene for entry in self.entries]

    @property
    def quarantined(self) -> dict[int, str]:
        """Rows of samples that could not be used, with the reason; they hold zeros, and are in no batch."""
        records = (self.records[shard] for shard in sorted(self.records))
        return {sample.row: sample.reason for record in records for sample in record.quarantined}

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that are not quarantined, ascending."""
        return np.setdiff1d(np.arange(len(self)), list(self.quarantined), assume_unique=True)

    @cached_property
    def content_hashes(self) -> list[str]:
        """A hash of each row's picture, decoded and resized; empty where it is quarantined or not extracted yet."""
        return self._hashes(IMAGE)

    @cached_property
    def depth_hashes(self) -> list[str]:
        """A hash of each row's training target; empty as `content_hashes`, and where nothing was measured."""
        nothing = content_hash(np.zeros(self.depth_size, self.depth_counts)) if self.has_depth else ""
        return ["" if found == nothing else found for found in self._hashes(DEPTH)]

    def _hashes(self, part: str) -> list[str]:
        found = [""] * len(self)
        for record in self.records.values():
            text = record.contents.get(part, "")
            for at in range(len(text) // HASH_DIGITS):
                found[record.start + at] = text[at * HASH_DIGITS : (at + 1) * HASH_DIGITS]
        for row in self.quarantined:
            found[row] = ""
        return found

    @property
    def depth_range(self) -> DepthRange | None:
        """Median and range of the depth measured so far; the median is that of the shards' medians.

        None without depth.
        """
        ranges = [DepthRange(**found) for r in self.records.values() if (found := r.statistics.get(DEPTH))]
        if not ranges:
            return None
        medians, lows, highs = zip(*ranges, strict=True)
        return DepthRange(float(np.median(medians)), min(lows), max(highs))

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
            raise StoreError(
                f"{self.path}: lacks the hidden states {absent}, it holds {list(self.layers)}; "
                "choose among those or extract again"
            )
        if depth:
            self._depth_field("size")

    def _depth_field(self, name: str) -> Any:
        if not self.has_depth:
            raise StoreError(f"{self.path}: holds images without depth; extract it with --depth to train or evaluate")
        return self.identity["depth"][name]
