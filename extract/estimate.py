"""What a run will take, in bytes and time, from a few samples, before the long work."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from dask.system import CPU_COUNT

from ..cache import BLOSC, Location, SpaceClipError, StoreSpec, arrays, parts, place_at
from .encode import as_images, encode_views, enough_memory
from .problems import counted
from .remaining import Work
from .samples import OnError, Prepared, prepare_sample
from .settings import ExtractSettings
from .sources.folder.files import spread
from .sources.source import Source
from .towers import Backbone

_MOST_PROBED = 64
_CHUNK_BYTES = 20  # its checksum, and its place in the shard's index
_IMAGES_A_PROBE = 64
"""Less than two in a hundred images are decoded twice."""
_ENCODED_ON_CPU = 2
"""A processor is about as fast with two images as with a batch of them, and all of them would be a wait."""


@dataclass(frozen=True)
class Prediction:
    """What a run will take.

    Attributes:
        store: Where it will write.
        images: Images in the store.
        shards: Shards in the store.
        pending_images: Images that are not committed yet.
        pending_shards: Shards that are not committed yet.
        bytes: Bytes that it will write.
        free: Bytes that are free there; None in a bucket.
        seconds: Time that decoding and encoding will take; what writing adds depends on the disk. None where nothing
            was timed.
        probed: Images that were tried out to know this.
    """

    store: Location
    images: int
    shards: int
    pending_images: int
    pending_shards: int
    bytes: int
    free: int | None
    seconds: float | None
    probed: int

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f" and {duration(self.seconds)} without writing"
        return (
            f"{self.pending_images:,} of {counted(self.images, 'image')} to compute ({self.pending_shards:,} of "
            f"{counted(self.shards, 'shard')}), about {self.bytes / 1e9:.2f} GB ({room(self.free)}){seconds} "
            f"({self.probed} probed)"
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

    Up to 64 samples, spread evenly, are decoded, resized and compressed; the encoder is timed on a batch of them.

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
    seconds, compressed, probed = 0.0 if timed else None, 0.0, 0
    if work.images:
        rows = list(_probes(work, min(_MOST_PROBED, 1 + work.images // _IMAGES_A_PROBE)))
        start = time.perf_counter()
        samples = [sample for row in rows if (sample := _prepared(source, spec, row, on_error))]
        probed, decoding = len(samples), time.perf_counter() - start
        if samples:
            for name, size in _compressed_bytes(spec, samples).items():
                compressed += size * sum(rows for missing, rows in written.items() if name in missing)
        if samples and timed:
            with enough_memory(settings):
                encoding = _encoding_seconds(backbone, spec, samples, spec.computed["batch"], computed)
            seconds = _at_once(backbone, settings, work.images * decoding / len(rows), encoding)
    return Prediction(
        store,
        len(spec.entries),
        spec.shards,
        work.images,
        len(work.shards),
        plain + round(compressed),
        free,
        seconds,
        probed,
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
            f"{place}: {need} {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; "
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
    return "in a bucket" if free is None else f"{free / 1e9:.1f} GB free"


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


def _prepared(source: Source, spec: StoreSpec, row: int, on_error: OnError) -> Prepared | None:
    try:
        return prepare_sample(source, spec, row)
    except SpaceClipError:
        if on_error == "stop":
            raise
        return None


def _compressed_bytes(spec: StoreSpec, samples: Sequence[Prepared]) -> dict[str, float]:
    """Mean bytes of one sample in each array that does compress, coded as the store codes it."""
    found = {}
    for name, array in arrays(spec).items():
        if array.compressed:
            values = [np.ascontiguousarray(sample[name], array.dtype) for sample in samples if isinstance(sample, dict)]
            found[name] = sum(len(BLOSC.encode(value)) for value in values) / len(values)
    return found


def _encoding_seconds(
    backbone: Backbone,
    spec: StoreSpec,
    samples: Sequence[Prepared],
    batch_size: int,
    computed: Counter[frozenset[str]],
) -> float:
    """Seconds that the encoder will take, from a batch of the kind that it will be given, whatever its images are."""
    on_cpu = backbone.device.type == "cpu"
    batch = samples[:_ENCODED_ON_CPU] if on_cpu else [samples[at % len(samples)] for at in range(batch_size)]
    images = as_images(batch[:batch_size], spec.image_size)
    return sum(
        rows * _batch_seconds(backbone, spec, images, missing) / len(images)
        for missing, rows in computed.items()
        if rows
    )


def _batch_seconds(backbone: Backbone, spec: StoreSpec, images: torch.Tensor, missing: Set[str]) -> float:
    """Seconds of the second time: the first makes buffers and chooses kernels for batches of this size."""
    start = stop = 0.0
    for _ in range(2):
        start = time.perf_counter()
        encode_views(backbone, spec, images, missing)
        if backbone.device.type == "cuda":
            torch.cuda.synchronize(backbone.device)
        stop = time.perf_counter()
    return stop - start


def _at_once(backbone: Backbone, settings: ExtractSettings, decoding: float, encoding: float) -> float:
    """Decoding, by its threads, and encoding run at once; on one processor they share its cores."""
    decoding /= min(settings.threads_here(), CPU_COUNT)
    return decoding + encoding if backbone.device.type == "cpu" else max(decoding, encoding)
