"""What changes where a folder of features is extracted anew: its pointers, and which split a sample is in."""

from collections.abc import Iterable, Mapping

from ..cache import FeatureCache, Location, Pointer, StoreError
from .problems import counted, first_few
from .sources.source import Source


def store_of(pointer: Location) -> FeatureCache | None:
    """The store that a pointer means, whole or not; None where none is there whose samples can be read."""
    try:
        found = Pointer.read(pointer)
        store = FeatureCache.open(found.target(pointer), allow_incomplete=True) if found.store else None
        readable = store and store.entries
    except StoreError:
        return None
    return store if readable else None


def moved_samples(folder: Location, sources: Mapping[str, Source]) -> str | None:
    """Which scenes have images in another split than in the stores that a folder's pointers mean now.

    Args:
        folder: Of the pointers.
        sources: The splits as they are to be.

    Returns:
        A line; None where nothing moves. An id that several splits use alike is passed over.
    """
    stores = {name: store for name in sources if (store := store_of(folder / f"{name}.json"))}
    old = _split_by_id((name, sample) for name, store in stores.items() for sample in store.sample_ids)
    new = _split_by_id((name, entry.id) for name, source in sources.items() for entry in source.entries)
    moved = [
        f"{entry.scene or entry.id} ({before} to {name})"
        for name, source in sources.items()
        for entry in source.entries
        if new[entry.id] and (before := old.get(entry.id)) and before != name
    ]
    if not moved:
        return None
    scenes = list(dict.fromkeys(moved))
    return f"{counted(len(moved), 'image')} of {counted(len(scenes), 'scene')} move between splits: {first_few(scenes)}"


def _split_by_id(samples: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """The split of each id; None of one that is in several."""
    found: dict[str, str | None] = {}
    for split, sample in samples:
        found[sample] = split if found.get(sample, split) == split else None
    return found
