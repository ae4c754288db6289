"""What a store says of itself, by its list of samples and its ledger; none of its arrays is read."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import override

from .features import Features
from .format.arrays import DEPTH, IMAGE, identity_arrays, identity_parts
from .format.identity import Entry
from .format.ledger import Record, ledger_digest
from .format.metadata import read_samples
from .format.statistics import HASH_DIGITS, DepthRange, content_hash
from .places.location import Location
from .places.place import Place


class StoreDescription(Features):
    """What is known of a store before it is read (see `FeatureCache`)."""

    path: Location  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, place: Place, attributes: Mapping[str, Any], records: Mapping[int, Record]) -> None:
        super().__init__(place.location, attributes["fingerprint"], attributes["identity"], attributes["about"])
        self.place, self.records = place, records
        self.shard = int(self.identity["shard"])
        self.parts = identity_parts(self.identity)
        self._layout = identity_arrays(self.identity)

    @property
    def shards(self) -> int:
        """Number of shards that a whole store has."""
        return -(-len(self) // self.shard)

    @cached_property
    @override
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
    @override
    def sample_ids(self) -> list[str]:
        return [entry.id for entry in self.entries]

    @property
    @override
    def scenes(self) -> list[str | None]:
        return [entry.scene for entry in self.entries]

    @property
    @override
    def quarantined(self) -> dict[int, str]:
        records = (self.records[shard] for shard in sorted(self.records))
        return {sample.row: sample.reason for record in records for sample in record.quarantined}

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
