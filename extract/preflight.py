"""What a run will take, in bytes and time, from a few samples, before the long work."""

import math
import os
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch

from ..cache import Location, SpaceClipError, StoreSpec, place_at
from ..cache.layout import arrays, parts
from ..cache.shardfile import BLOSC
from .backbone import Backbone
from .blocks import as_images, encode_views
from .folder.files import spread
from .problems import counted
from .samples import OnError, Prepared, prepare_sample
from .settings import ExtractSettings
from .sources import Source
from .work import Work

_MOST_PROBED = 64
_CHUNK_BYTES = 20  # its checksum, and its place in the shard's index
_IMAGES_A_PROBE = 64
"""Less than two in a hundred images are computed twice."""


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
        seconds: Time that decoding and encoding will take; what writing adds depends on the disk.
        probed: Images that were tried out to know this.
    """

    store: Location
    images: int
    shards: int
    pending_images: int
    pending_shards: int
    bytes: int
    free: int | None
    seconds: float
    probed: int

    def __str__(self) -> str:
        return (
            f"{self.pending_images:,} of {counted(self.images, 'image')} to compute ({self.pending_shards:,} of "
            f"{counted(self.shards, 'shard')}), about {self.bytes / 1e9:.2f} GB ({_room(self.free)}) and "
            f"{duration(self.seconds)} ({self.probed} probed)"
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

    Raises:
        SpaceClipError: The arrays that do not compress alone need more space than there is; or a sample cannot be used.
    """
    spec, free = work.spec, place_at(store).free_bytes()
    missing = {shard: work.missing(shard) for shard in work.shards}
    counts = {
        shard: stop - start for shard, (start, stop) in zip(work.shards, map(spec.rows, work.shards), strict=True)
    }
    plain_bytes = _plain_bytes(spec)
    plain = sum(counts[shard] * sum(plain_bytes[name] for name in missing[shard]) for shard in work.shards)
    require_space(store, plain, free)
    seconds, compressed, probed = 0.0, 0.0, 0
    if work.images:
        rows = _probes(work, min(_MOST_PROBED, 1 + work.images // _IMAGES_A_PROBE))
        start = time.perf_counter()
        samples = [sample for row in rows if (sample := _prepared(source, spec, row, on_error))]
        probed, decoding = len(samples), time.perf_counter() - start
        if samples:
            for name, size in _compressed_bytes(spec, samples).items():
                compressed += size * sum(counts[shard] for shard in work.shards if name in missing[shard])
            encoding = _encoding_seconds(backbone, spec, samples[: settings.batch_size], missing[work.shards[0]])
            seconds = work.images * _seconds_an_image(backbone, settings, decoding / len(rows), encoding)
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


def require_space(store: Location, needed: int, free: int | None) -> None:
    """Refuse a run that cannot end well.

    Raises:
        SpaceClipError: Fewer bytes are free than needed.
    """
    if free is not None and needed > free:
        raise SpaceClipError(
            f"{store}: the store needs {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; "
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


def _room(free: int | None) -> str:
    return "in a bucket" if free is None else f"{free / 1e9:.1f} GB free"


def _plain_bytes(spec: StoreSpec) -> dict[str, int]:
    """Bytes of one sample in each part that are known beforehand: what does not compress, and what a chunk adds."""
    found = {}
    for name, part in parts(spec).items():
        layout = part.layout
        size = 0 if layout.compressed else math.prod(layout.chunk) * np.dtype(layout.dtype).itemsize
        found[name] = size + _CHUNK_BYTES
    return found


def _probes(work: Work, count: int) -> list[int]:
    """Rows that have to be computed, evenly spread."""
    rows = [row for shard in work.shards for row in work.rows(shard)]
    return [rows[at] for at in spread(len(rows), count)]


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


def _encoding_seconds(backbone: Backbone, spec: StoreSpec, samples: Sequence[Prepared], missing: Set[str]) -> float:
    """Seconds an image of one batch; the first forward passes of a process are slower and are not counted."""
    encode_views(backbone, spec, as_images(samples[:1], spec.image_size), missing)
    images = as_images(samples, spec.image_size)
    start = time.perf_counter()
    encode_views(backbone, spec, images, missing)
    if backbone.device.type == "cuda":
        torch.cuda.synchronize(backbone.device)
    return (time.perf_counter() - start) / len(samples)


def _seconds_an_image(backbone: Backbone, settings: ExtractSettings, decoding: float, encoding: float) -> float:
    """Decoding and encoding run at once; on one processor they share its cores."""
    cores = os.cpu_count() or 1
    decoding /= min(settings.threads, cores)
    return decoding + encoding if backbone.device.type == "cpu" else max(decoding, encoding)
