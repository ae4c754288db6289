"""No scene on both sides: splits that are used together must share nothing."""

from collections.abc import Mapping
from itertools import combinations

from .errors import StoreError
from .reader import FeatureCache

_SHOWN = 3


def require_disjoint(splits: Mapping[str, FeatureCache]) -> None:
    """Refuse stores that hold the same scenes, or samples where the user divided by sample (`ratio`).

    They can come to share some though each extraction divided well: a split kept from other settings, or another
    experiment's.

    Args:
        splits: The stores by what they are used as.

    Raises:
        StoreError: Names the two, how much they share, and the first few.
    """
    by_sample = any(cache.about.get("split_by") == "ratio" for cache in splits.values())
    names = {
        split: set(cache.sample_ids if by_sample else filter(None, cache.scenes)) for split, cache in splits.items()
    }
    for one, other in combinations(names, 2):
        if shared := sorted(names[one] & names[other]):
            noun = "samples" if by_sample else "scenes"
            raise StoreError(
                f"{splits[one].path} ({one}) and {splits[other].path} ({other}) share {len(shared)} {noun} "
                f"({', '.join(shared[:_SHOWN])}{', ...' if len(shared) > _SHOWN else ''}): scores would flatter; "
                "extract all splits anew by one experiment, or give others"
            )
