"""What a run will take, in bytes and time, from a few samples, before the long work."""

import math
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..cache import DepthRange, Location, SpaceClipError, StoreSpec, parts, place_at, size_text
from .problems import counted
from .remaining import Work
from .samples import OnError
from .settings import ExtractSettings
from .sources.source import Source
from .towers import Backbone
from .trial import tried

_CHUNK_BYTES = 20  # its checksum, and its place in the shard's index


@dataclass(frozen=True)
class Prediction:
    """What a run will take.

    Attributes:
        store: Where it will write.
        images: Images in the store.
        shards: Shards in the store.
        pending_images: Images that are not committed yet.
        pending_shards: Shards that are not committed yet.
        taken: Images that are taken over from stores beside it.
        bytes: Bytes that it will write.
        free: Bytes that are free there; None in a bucket.
        seconds: Time that decoding and encoding will take; what writing adds depends on the disk. None where nothing
            was timed.
        probed: Images that were tried out to know this.
        probing: Seconds that this took.
        depth: Median and range of the depth of those; None where none was measured.
    """

    store: Location
    images: int
    shards: int
    pending_images: int
    pending_shards: int
    taken: int
    bytes: int
    free: int | None
    seconds: float | None
    probed: int
    probing: float
    depth: DepthRange | None

    def __str__(self) -> str:
        taken = f", {self.taken:,} taken over from another store" if self.taken else ""
        seconds = "" if self.seconds is None else f" and {duration(self.seconds)} without writing"
        depth = f"; depth {self.depth}" if self.depth else ""
        tries = f" (tried {counted(self.probed, 'image')} in {self.probing:.1f} s{depth})" if self.probed else ""
        return (
            f"{self.pending_images:,} of {counted(self.images, 'image')} to compute ({self.pending_shards:,} of "
            f"{counted(self.shards, 'shard')}){taken}, about {size_text(self.bytes)} ({room(self.free)}){seconds}"
            f"{tries}"
        )

    def require_space(self) -> None:
        """Refuse a run that cannot end well.

        Raises:
            SpaceClipError: There is less space than it will need.
        """
        require_space(self.store, self.bytes, self.free)


def predict(
    source: Source,
    backbone: Backbone,
    work: Work,
    settings: ExtractSettings,
    store: Location,
    on_error: OnError = "stop",
    *,
    timed: bool = True,
) -> Prediction:
    """Prepare a few samples as the run will, and reckon from them. Nothing is written.

    Up to 64 samples, spread evenly, pass through the engine of the run; on a processor up to 16, and no more than it
    encodes in 5 seconds.

    Args:
        source: The samples.
        backbone: The frozen encoder.
        work: What has to be computed.
        settings: Batch size and threads.
        store: Where it will be.
        on_error: With `quarantine`, samples that cannot be read are passed over.
        timed: Whether the encoder is timed; if not, no time is said.

    Raises:
        SpaceClipError: The arrays that do not compress alone need more space than there is; or a sample cannot be used.
    """
    spec, free = work.spec, place_at(store).free_bytes()
    written, computed = _rows_by_missing(work)
    plain_bytes = _plain_bytes(spec)
    plain = sum(rows * sum(plain_bytes[name] for name in missing) for missing, rows in written.items())
    require_space(store, plain, free, at_least=True)
    asked = {lacking: lacking if timed else lacking & _samples(spec) for lacking, rows in computed.items() if rows}
    start = time.perf_counter()
    tries, depth = tried(source, backbone, work, settings, asked, on_error) if asked else ({}, None)
    probing, compressed = time.perf_counter() - start, 0.0
    for name in _compressed(spec):
        sizes = [found.sizes[name] for found in tries.values() if name in found.sizes]
        if sizes:
            compressed += sizes[0] * sum(rows for lacking, rows in written.items() if name in lacking)
    return Prediction(
        store=store,
        images=len(spec.entries),
        shards=spec.shards,
        pending_images=work.images,
        pending_shards=len(work.shards),
        taken=work.taken,
        bytes=plain + round(compressed),
        free=free,
        seconds=sum(computed[lacking] * found.seconds for lacking, found in tries.items()) if timed else None,
        probed=min((found.images for found in tries.values()), default=0),
        probing=probing,
        depth=depth,
    )


def require_space(place: Location, needed: int, free: int | None, stores: int = 1, *, at_least: bool = False) -> None:
    """Refuse a run that cannot end well.

    Args:
        place: The store, or the folder of several.
        needed: Bytes that will be written.
        free: Bytes that are free there; None in a bucket.
        stores: How many will be written.
        at_least: Whether what is compressed will come to it.

    Raises:
        SpaceClipError: Fewer bytes are free than needed.
    """
    if free is not None and needed > free:
        need = "the store needs" if stores == 1 else f"the {stores} stores need"
        raise SpaceClipError(
            f"{place}: {need} {'at least ' if at_least else ''}{size_text(needed)} more, {size_text(free)} are free; "
            "make room, keep fewer layers or views, or give another --out"
        )


def duration(seconds: float) -> str:
    """A length of time in two units at most.

    >>> duration(8.2), duration(250), duration(40_000)
    ('8 s', '4 min', '11 h 7 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def room(free: int | None) -> str:
    """What is free, in words."""
    return "in a bucket" if free is None else f"{size_text(free)} free"


def _plain_bytes(spec: StoreSpec) -> dict[str, int]:
    """Bytes of one sample in each part that are known beforehand: what does not compress, and what a chunk adds."""
    found = {}
    for name, part in parts(spec).items():
        layout = part.layout
        size = 0 if layout.compressed else math.prod(layout.chunk) * np.dtype(layout.dtype).itemsize
        found[name] = size + _CHUNK_BYTES
    return found


def _rows_by_missing(work: Work) -> tuple[Counter[frozenset[str]], Counter[frozenset[str]]]:
    """Rows to be written and rows to be computed, by the parts that their shards lack."""
    written, computed = Counter[frozenset[str]](), Counter[frozenset[str]]()
    for shard in work.shards:
        start, stop = work.spec.rows(shard)
        missing = work.missing(shard)
        written[missing] += stop - start
        computed[missing] += work.count(shard)
    return written, computed


def _samples(spec: StoreSpec) -> frozenset[str]:
    """Parts that need no encoder."""
    return frozenset(name for name, part in parts(spec).items() if not part.layout.by_view)


def _compressed(spec: StoreSpec) -> list[str]:
    return [name for name, part in parts(spec).items() if part.layout.compressed]
