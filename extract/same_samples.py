"""Whether a store was made of the files that are there now."""

from collections.abc import Callable

from ..cache import FeatureCache, SpaceClipError, StoreSpec, content_hash
from .samples import Block, each_sample
from .sources.folder.files import spread
from .sources.source import Source

# Decoded of a store that is whole, before it is taken for the data set's.
_COMPARED = 4


def require_same_samples(
    source: Source,
    spec: StoreSpec,
    cache: FeatureCache,
    threads: int,
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Refuse a store that was made of other files: names and sizes, all that its fingerprint knows, may be the same.

    A few samples spread over the store are decoded. Those quarantined there, or unreadable now, are passed over.

    Raises:
        SpaceClipError: A picture or depth map is another than the store's.
    """
    known = {"image": cache.content_hashes, **({"depth": cache.depth_hashes} if cache.has_depth else {})}
    rows = spread(len(cache), _COMPARED)

    def hashes(sample: Block) -> dict[str, str]:
        return {name: content_hash(sample[name]) for name in known}

    for row, found in zip(rows, each_sample(source, spec, rows, threads, hashes, say), strict=True):
        if isinstance(found, SpaceClipError):
            continue
        if differ := [name for name, kept in known.items() if kept[row] not in ("", found[name])]:
            raise SpaceClipError(
                f"{cache.path}: holds another {differ[0]} of {spec.entries[row].id} than the file of the same name and "
                "size has now: give other data another name (`features`, or --out); if the files were changed, delete "
                "this store, then run the same command again"
            )
