"""The deep check of an object: what it decodes to, beyond its bytes being the ones that were recorded."""

import math

import numpy as np

from ..errors import StoreError, UnreadableError
from ..format.ledger import Record
from ..format.statistics import layer_statistics
from ..reader import FeatureCache

# Sums in float32 may be ordered otherwise by another NumPy or processor; nothing else may differ.
_TOLERANCE = 1e-5


def deep_problems(cache: FeatureCache, record: Record, name: str) -> list[str]:
    """Decode every chunk of one part of a shard.

    Returns:
        Those of `undecodable`, `not finite` and `other statistics` that hold.

    Raises:
        UnreadableError: The place gives no answer, which says nothing of the object.
    """
    part, recorded = cache.parts[name], record.statistics.get(name)
    try:
        array = cache.array(part.array)
    except UnreadableError:
        raise
    except StoreError:
        return []  # Its metadata is damaged, which is said once and no fault of this shard.
    bad = {sample.row for sample in record.quarantined}
    sound = [row for row in range(record.start, record.stop) if row not in bad]
    try:
        if recorded is None:
            rows = (array.read_rows(row, row + 1, part.view) for row in range(record.start, record.stop))
            finite = all([np.isfinite(row).all() for row in rows])  # noqa: C419 - all rows are to be decoded
            return [] if finite else ["not finite"]
        whole = array.read_rows(record.start, record.stop, part.view)
    except UnreadableError:
        raise
    except StoreError:
        return ["undecodable"]
    if not sound:
        return ["other statistics"]  # there can be none
    try:
        with np.errstate(invalid="ignore"):  # Infinities of both signs in one sum.
            found = layer_statistics(whole[[row - record.start for row in sound]], name, record.start)
    except StoreError:
        return ["not finite"]
    same = set(found) == set(recorded) and all(
        math.isclose(found[key], recorded[key], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for key in found
    )
    return [] if same else ["other statistics"]
