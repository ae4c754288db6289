"""No scene on both sides: splits that are used together must share nothing."""

from collections import Counter
from collections.abc import Mapping
from itertools import combinations

from .errors import StoreError
from .reader import FeatureCache

_SHOWN = 3


def require_disjoint(splits: Mapping[str, FeatureCache]) -> None:
    """Refuse stores that hold the same samples, or the same scenes unless the user divided by sample (`ratio`).

    They can come to share some though each extraction divided well: a split kept from other settings, or another
    experiment's; or the data set may name scenes otherwise on the other side.

    Args:
        splits: The stores by what they are used as.

    Raises:
        StoreError: Names the two, how much they share, and the first few.
    """
    by_sample = any(cache.about.get("split_by") == "ratio" for cache in splits.values())
    for (one, mine), (other, theirs) in combinations(splits.items(), 2):
        noun, shared = "scenes", [] if by_sample else _shared_scenes(mine, theirs)
        if not shared:
            noun, shared = "samples", _shared_samples(mine, theirs)
        if shared:
            raise StoreError(
                f"{mine.path} ({one}) and {theirs.path} ({other}) share {len(shared)} {noun} "
                f"({', '.join(shared[:_SHOWN])}{', ...' if len(shared) > _SHOWN else ''}): scores would flatter; "
                "extract all splits anew by one experiment, or give others"
            )


def _shared_scenes(mine: FeatureCache, theirs: FeatureCache) -> list[str]:
    return sorted(set(filter(None, mine.scenes)).intersection(theirs.scenes))


def _shared_samples(mine: FeatureCache, theirs: FeatureCache) -> list[str]:
    if mine.about.get("split_by") == theirs.about.get("split_by") == "ratio":
        return sorted(set(mine.sample_ids).intersection(theirs.sample_ids))
    # Files that lie apart may be named alike and still be others; the sizes of uncompressed ones are all alike too.
    stamps = Counter(entry.stamp for entry in mine.entries)
    stamped = {(entry.id, entry.stamp) for entry in mine.entries if stamps[entry.stamp] == 1}
    return sorted(entry.id for entry in theirs.entries if (entry.id, entry.stamp) in stamped)
