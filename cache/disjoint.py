"""No scene and no picture on both sides: splits that are used together must share nothing."""

from collections.abc import Mapping
from itertools import combinations, product

from .errors import StoreError
from .features import Features
from .reader import FeatureCache

_SHOWN = 3


def require_disjoint(splits: Mapping[str, Features]) -> None:
    """Refuse stores that share pictures, samples, or scenes unless the user divided by sample (`ratio`).

    They can come to share some though each extraction divided well: a split kept from other settings, or another
    experiment's; a folder that links to another split's; or the data set may name scenes otherwise on the other side.
    Pictures are compared by what was decoded of them, whatever they are called.

    Args:
        splits: The stores by what they are used as.

    Raises:
        StoreError: Names the two, how much they share, and the first few.
    """
    for one, other in combinations(splits, 2):
        for mine, theirs in product(splits[one].stores, splits[other].stores):
            _require_disjoint(mine, one, theirs, other)


def _require_disjoint(mine: FeatureCache, one: str, theirs: FeatureCache, other: str) -> None:
    by_sample = "ratio" in (mine.about.get("split_by"), theirs.about.get("split_by"))
    remedy = "extract all splits anew by one experiment, or give others"
    noun, shared = "scene", [] if by_sample else _shared_scenes(mine, theirs)
    if not shared:
        noun, shared = "sample", _shared_samples(mine, theirs)
    if not shared:
        noun, shared = "picture", _shared_pictures(mine, theirs)
        remedy = "leave one of each pair out of the data (its folder or list), then extract again"
    if shared:
        raise StoreError(
            f"{mine.path} ({one}) and {theirs.path} ({other}) share {len(shared)} {noun}{'s' * (len(shared) > 1)} "
            f"({', '.join(shared[:_SHOWN])}{', ...' if len(shared) > _SHOWN else ''}): scores would flatter; "
            f"{remedy}"
        )


def _shared_scenes(mine: FeatureCache, theirs: FeatureCache) -> list[str]:
    return sorted(set(filter(None, mine.scenes)).intersection(theirs.scenes))


def _shared_samples(mine: FeatureCache, theirs: FeatureCache) -> list[str]:
    # Files that lie apart may be named alike and still be others: only parts of one list are compared by name.
    by_sample = mine.about.get("split_by") == theirs.about.get("split_by") == "ratio"
    return sorted(set(mine.sample_ids).intersection(theirs.sample_ids)) if by_sample else []


def _shared_pictures(mine: FeatureCache, theirs: FeatureCache) -> list[str]:
    """Ids of their samples whose picture is one of mine, with the id that it has there where that is another."""
    ids = {content: sample for content, sample in zip(mine.content_hashes, mine.sample_ids, strict=True) if content}
    pairs = ((ids.get(content), name) for content, name in zip(theirs.content_hashes, theirs.sample_ids, strict=True))
    return sorted(name if name == known else f"{name} = {known}" for known, name in pairs if known)
