"""How often a test split was looked at: a small file for each look in a folder beside its store, no part of the store.

The name of a file says which look it is. So the same look again is no other, two processes at once lose none, a bucket
needs no appending, and a file that is damaged still counts.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from .places.location import Location
from .places.opening import place_at
from .places.place import Place

SUFFIX = ".looks"
_NAME = re.compile(r"(checkpoint|maps|probes)-([0-9a-f]{16})-[0-9a-f]{8}")


@dataclass(frozen=True)
class Look:
    """Something that was scored on a test split.

    Attributes:
        kind: What was: the weights of a checkpoint, saved maps, or linear probes.
        sha256: Their hash; of probes that of all they follow from.
        protocol: What they were scored by.
        by: Folder of the result, which names the run or the study.
    """

    kind: Literal["checkpoint", "maps", "probes"]
    sha256: str
    protocol: str
    by: str

    @property
    def key(self) -> str:
        """Name of its file: the same for the same weights or maps under the same protocol."""
        return f"{self.kind}-{self.sha256[:16]}-{hashlib.sha256(self.protocol.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Looks:
    """How often a test split was looked at until now.

    Attributes:
        times: Different looks.
        checkpoints: How many checkpoints had one.
        maps: How many sets of saved maps had one.
        probes: How many sets of linear probes had one.
        uncounted: Why they cannot be counted; empty where they are.
    """

    times: int = 0
    checkpoints: int = 0
    maps: int = 0
    probes: int = 0
    uncounted: str = ""

    def __str__(self) -> str:
        if self.uncounted:
            return f"looks at the test split are not counted ({self.uncounted})"
        if not self.times:
            return "test split not looked at by then"
        numbers = (
            (self.checkpoints, "checkpoint", "checkpoints"),
            (self.maps, "set of maps", "sets of maps"),
            (self.probes, "set of probes", "sets of probes"),
        )
        who = " and ".join(f"{count} {one if count == 1 else many}" for count, one, many in numbers if count)
        return f"test split looked at {'once' if self.times == 1 else f'{self.times} times'} by then, by {who}"


def note_looks(looks: Sequence[Look], *stores: Location) -> Looks:
    """Note looks at a test split in the ledgers of its stores, those that are new, and count all there are."""
    for place in map(_place, stores):
        try:
            noted = {*place.names()}
            for look in looks:
                if look.key not in noted:
                    content = {**asdict(look), "at": datetime.now(UTC).isoformat(timespec="seconds")}
                    place.write(look.key, json.dumps(content, indent=1).encode() + b"\n")
        except OSError as error:
            return _uncounted(place, error)
    return count_looks(*stores)


def count_looks(*stores: Location) -> Looks:
    """Count the looks at a test split; one at several of its stores is one."""
    found: dict[str, tuple[str, str]] = {}
    for place in map(_place, stores):
        try:
            found |= {name: (match[1], match[2]) for name in place.names() if (match := _NAME.fullmatch(name))}
        except OSError as error:
            return _uncounted(place, error)
    scored = Counter(kind for kind, _ in {*found.values()})
    return Looks(len(found), scored["checkpoint"], scored["maps"], scored["probes"])


def carry_looks(source: Location, target: Location) -> None:
    """Take the looks at a store to a copy of it, which has the same images.

    Raises:
        OSError: They cannot be read or written.
    """
    there, here = _place(source), _place(target)
    for name in {*there.names()} - {*here.names()}:
        if _NAME.fullmatch(name):
            here.write(name, there.read(name))


def forget_looks(store: Location) -> None:
    """Delete those at a store that is deleted."""
    place = _place(store)
    for key, _ in list(place.walk()):
        place.delete(key)
    if isinstance(place.location, Path) and place.location.is_dir():
        place.location.rmdir()


def _uncounted(place: Place, error: OSError) -> Looks:
    return Looks(uncounted=f"{place.location}: {error.strerror or error}")


def _place(store: Location) -> Place:
    # One ledger for all names of the store.
    real = Path(os.path.realpath(store)) if isinstance(store, Path) else store
    return place_at(real.parent / f"{real.stem}{SUFFIX}")
