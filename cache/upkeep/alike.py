"""Stores that were made alike, and so hold what another need not compute again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import StoreError
from ..format.arrays import Part, identity_parts
from ..format.identity import Entry, StoreSpec
from ..format.ledger import Record, scan_ledger
from ..format.metadata import read_attributes, read_samples
from ..places.location import Location
from ..places.opening import place_at

# What may differ between stores made alike: it decides which parts and rows there are, and not the bytes of any part
# that both hold in one shape.
_GROWING = {"samples", "layers", "views"}


@dataclass(frozen=True)
class LikeStore:
    """A store that differs in its samples, layers, views, or the room for ground truth at most.

    Attributes:
        path: Where it lies.
        identity: The store's.
        entries: Its samples.
        records: Its ledger.
    """

    path: Location
    identity: Mapping[str, Any]
    entries: list[Entry]
    records: Mapping[int, Record]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Its parts by name."""
        return identity_parts(self.identity)

    def shared(self, parts: Mapping[str, Part]) -> set[str]:
        """Names of those parts of a store made alike that this one holds with the same bytes for the same rows."""
        return {
            name
            for name, part in parts.items()
            if name in self.parts and self.parts[name].layout.row == part.layout.row
        }

    @cached_property
    def rows(self) -> dict[Entry, int]:
        """Rows of committed samples that are sound."""
        bad = {sample.row for record in self.records.values() for sample in record.quarantined}
        there = (row for record in self.records.values() for row in range(record.start, record.stop))
        return {self.entries[row]: row for row in there if row not in bad}


def like_stores(spec: StoreSpec, others: Iterable[Location]) -> list[LikeStore]:
    """Those of some stores that were made alike; damaged ones, and those made otherwise, are passed over."""
    found = []
    for path in sorted(others, key=str):
        place = place_at(path)
        try:
            attributes = read_attributes(place)
            if attributes is None or _fixed(attributes["identity"]) != _fixed(spec.identity):
                continue
            entries = read_samples(place, attributes["identity"])
            records = scan_ledger(place, attributes["fingerprint"])[0]
        except (StoreError, OSError):
            continue
        found.append(LikeStore(path, attributes["identity"], entries, records))
    return found


def _fixed(identity: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {name: value for name, value in identity.items() if name not in _GROWING}
    # The largest ground truth decides how all are padded.
    return fixed | {"depth": identity["depth"] and {**identity["depth"], "native": None}}
