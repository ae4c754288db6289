"""What a run will take, in bytes and time, from a few samples, before the long work."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from dask.system import CPU_COUNT

from ..cache import DepthRange, Location, Record, SpaceClipError, Stored, StoreSpec, parts, place_at, size_text
from .engine import Engine, HostDevice, WeighingSink, device_of
from .problems import counted
from .remaining import Work
from .samples import OnError
from .settings import ExtractSettings, computing
from .sources.folder.files import spread
from .sources.source import Sample, Source
from .towers import Backbone

_MOST_PROBED = 64
_MOST_PROBED_ON_CPU = 16
_CHUNK_BYTES = 20  # its checksum, and its place in the shard's index
_IMAGES_A_PROBE = 64
"""Less than two in a hundred images are decoded twice."""
_MOST_SECONDS = 5.0
"""For a processor to encode the probes; one is encoded however long it takes."""


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
        tried = f" (tried {counted(self.probed, 'image')} in {self.probing:.1f} s{depth})" if self.probed else ""
        return (
            f"{self.pending_images:,} of {counted(self.images, 'image')} to compute ({self.pending_shards:,} of "
            f"{counted(self.shards, 'shard')}){taken}, about {size_text(self.bytes)} ({room(self.free)}){seconds}"
            f"{tried}"
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
    require_space(store, plain, free)
    asked = {lacking: lacking if timed else lacking & _samples(spec) for lacking, rows in computed.items() if rows}
    start = time.perf_counter()
    tries, depth = _tried(source, backbone, work, settings, asked, on_error) if asked else ({}, None)
    probing, compressed = time.perf_counter() - start, 0.0
    for name in _compressed(spec):
        sizes = [tried.sizes[name] for tried in tries.values() if name in tried.sizes]
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
        seconds=sum(computed[lacking] * tried.seconds for lacking, tried in tries.items()) if timed else None,
        probed=min((tried.images for tried in tries.values()), default=0),
        probing=probing,
        depth=depth,
    )


def require_space(place: Location, needed: int, free: int | None, stores: int = 1) -> None:
    """Refuse a run that cannot end well.

    Args:
        place: The store, or the folder of several.
        needed: Bytes that will be written.
        free: Bytes that are free there; None in a bucket.
        stores: How many will be written.

    Raises:
        SpaceClipError: Fewer bytes are free than needed.
    """
    if free is not None and needed > free:
        need = "the store needs" if stores == 1 else f"the {stores} stores need"
        raise SpaceClipError(
            f"{place}: {need} {size_text(needed)} more, {size_text(free)} are free; "
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


def _probes(work: Work, count: int) -> Iterator[int]:
    """Rows that have to be computed, evenly spread."""
    wanted, passed = deque(spread(work.images, count)), 0
    for shard in work.shards:
        here = passed + work.count(shard)
        if wanted and wanted[0] < here:
            rows = work.rows(shard)
            while wanted and wanted[0] < here:
                yield rows[wanted.popleft() - passed]
        passed = here


class _Tried(NamedTuple):
    """What extracting an image takes: bytes of each part, and seconds; and how many were extracted to know that."""

    sizes: dict[str, float]
    seconds: float
    images: int


class _Probes:
    """Some samples of a source, as a source and a store of their own, which notes their depth."""

    def __init__(self, source: Source, spec: StoreSpec, rows: list[int]) -> None:
        self._source, self._rows = source, rows
        self.entries = [spec.entries[row] for row in rows]
        self.spec = replace(spec, entries=self.entries, shard=len(rows))
        self._depths: dict[int, DepthRange] = {}

    def load(self, index: int) -> Sample:
        """Decode one of them."""
        sample = self._source.load(self._rows[index])
        depth = np.empty(0) if sample.depth is None else sample.depth[sample.depth > 0]
        if depth.size:
            self._depths[index] = DepthRange(float(np.median(depth)), float(depth.min()), float(depth.max()))
        return sample

    @property
    def depth(self) -> DepthRange | None:
        """Median and range of the depth of those decoded; None where none was measured."""
        if not self._depths:
            return None
        medians, lows, highs = zip(*self._depths.values(), strict=True)
        return DepthRange(float(np.median(medians)), min(lows), max(highs))


def _tried(
    source: Source,
    backbone: Backbone,
    work: Work,
    settings: ExtractSettings,
    asked: Mapping[frozenset[str], frozenset[str]],
    on_error: OnError,
) -> tuple[dict[frozenset[str], _Tried], DepthRange | None]:
    """Extract some images for each set of parts that shards lack, by what is asked of it; and the depth of those."""
    spec, device, start = work.spec, device_of(backbone, work.spec), time.perf_counter()
    most = min(_MOST_PROBED, 1 + work.images // _IMAGES_A_PROBE)
    with computing(backbone, settings):
        device.warm_up(spec.computed["batch"], frozenset[str]().union(*asked.values()))
        if backbone.device.type == "cpu":
            # It encoded one image.
            encoded = int(_MOST_SECONDS / len(asked) / (time.perf_counter() - start))
            most = max(1, min(most, _MOST_PROBED_ON_CPU, encoded))
        probes = _Probes(source, spec, list(_probes(work, most)))
        return {
            lacking: _extracted(probes, device, settings, parts, on_error) for lacking, parts in asked.items()
        }, probes.depth


def _extracted(
    probes: _Probes, device: HostDevice, settings: ExtractSettings, lacking: frozenset[str], on_error: OnError
) -> _Tried:
    """Extract the probes with the engine of the run, as a shard that lacks some parts, and keep nothing."""
    spec = probes.spec
    there = {name: Stored(0, "") for name in parts(spec).keys() - lacking}
    work = Work(spec, [0], {0: Record(spec.fingerprint, 0, 0, spec.shard, there, {})})
    sink, batch, threads = WeighingSink(CPU_COUNT), spec.computed["batch"], settings.threads_here()
    with Engine(probes, device, spec, sink, batch=batch, threads=threads, on_error=on_error) as engine:
        engine.wait([engine.submit(work, 0)])
        receipt, images = engine.receipt(), spec.shard - sink.bad
    device.let_go()
    sizes = {name: size / max(1, images) for name, size in sink.bytes.items()}
    return _Tried(sizes, receipt.alone if receipt else 0.0, images)


def _samples(spec: StoreSpec) -> frozenset[str]:
    """Parts that need no encoder."""
    return frozenset(name for name, part in parts(spec).items() if not part.layout.by_view)


def _compressed(spec: StoreSpec) -> list[str]:
    return [name for name, part in parts(spec).items() if part.layout.compressed]
