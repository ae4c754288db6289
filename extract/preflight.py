"""What a run will take, in bytes and time, from a few samples, before the long work."""

import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numcodecs import Blosc

from ..cache import SpaceClipError, StoreSpec
from ..cache.layout import arrays
from .backbone import Backbone
from .blocks import as_images, encode_views
from .folder.files import spread
from .problems import counted
from .samples import OnError, Prepared, prepare_sample
from .settings import ExtractSettings
from .sources import Source

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
        free: Bytes that are free there.
        seconds: Time that decoding and encoding will take; what writing adds depends on the disk.
        probed: Images that were tried out to know this.
    """

    store: Path
    images: int
    shards: int
    pending_images: int
    pending_shards: int
    bytes: int
    free: int
    seconds: float
    probed: int

    def __str__(self) -> str:
        return (
            f"{self.pending_images:,} of {counted(self.images, 'image')} to compute ({self.pending_shards:,} of "
            f"{counted(self.shards, 'shard')}), about {self.bytes / 1e9:.2f} GB ({self.free / 1e9:.1f} GB free) and "
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
    spec: StoreSpec,
    settings: ExtractSettings,
    store: Path,
    pending: Sequence[int],
    on_error: OnError = "stop",
) -> Prediction:
    """Prepare a few samples as the run will, and reckon from them. Nothing is written.

    Up to 64 samples, spread evenly, are decoded, resized and compressed; the encoder is timed on a batch of them.

    Args:
        source: The samples.
        backbone: The frozen encoder.
        spec: What the store will hold.
        settings: Batch size and threads.
        store: Where it will be.
        pending: Shards to be written.
        on_error: With `quarantine`, samples that cannot be read are passed over.

    Raises:
        SpaceClipError: The arrays that do not compress alone need more space than there is; or a sample cannot be used.
    """
    rows = [row for shard in pending for row in range(*spec.rows(shard))]
    free = free_bytes(store)
    plain = _plain_bytes(spec) * len(rows)
    require_space(store, plain, free)
    seconds, compressed, probed = 0.0, 0.0, 0
    if rows:
        probes = [rows[at] for at in spread(len(rows), min(_MOST_PROBED, 1 + len(rows) // _IMAGES_A_PROBE))]
        start = time.perf_counter()
        samples = [sample for row in probes if (sample := _prepared(source, spec, row, on_error))]
        probed, decoding = len(samples), time.perf_counter() - start
        if samples:
            compressed = sum(_compressed_bytes(spec, sample) for sample in samples) / probed
            encoding = _encoding_seconds(backbone, spec, samples[: settings.batch_size])
            seconds = len(rows) * _seconds_an_image(backbone, settings, decoding / len(probes), encoding)
    return Prediction(
        store,
        len(spec.entries),
        spec.shards,
        len(rows),
        len(pending),
        plain + round(compressed * len(rows)),
        free,
        seconds,
        probed,
    )


def require_space(store: Path, needed: int, free: int) -> None:
    """Refuse a run that cannot end well.

    Raises:
        SpaceClipError: Fewer bytes are free than needed.
    """
    if needed > free:
        raise SpaceClipError(
            f"{store}: the store needs {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; "
            "make room, keep fewer layers or views, or give another --out"
        )


def free_bytes(path: Path) -> int:
    """Free space where a path is, or will be."""
    present = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(present).free


def duration(seconds: float) -> str:
    """A length of time in two units at most.

    >>> duration(8.2), duration(250), duration(40_000)
    ('8 s', '4 min', '11 h 7 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _plain_bytes(spec: StoreSpec) -> int:
    """Bytes of one sample that are known beforehand: arrays that do not compress, and what every chunk adds."""
    layout = arrays(spec).values()
    plain = sum(math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize for array in layout if not array.compressed)
    chunks = sum(math.prod(array.shape[1:]) // math.prod(array.chunk[1:]) for array in layout)
    return plain + chunks * _CHUNK_BYTES


def _prepared(source: Source, spec: StoreSpec, row: int, on_error: OnError) -> Prepared | None:
    try:
        return prepare_sample(source, spec, row)
    except SpaceClipError:
        if on_error == "stop":
            raise
        return None


def _compressed_bytes(spec: StoreSpec, sample: Prepared) -> int:
    """Bytes of one sample in the arrays that do compress, coded as the store codes them."""
    assert isinstance(sample, dict)
    coder = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)
    return sum(
        len(coder.encode(np.ascontiguousarray(sample[name], array.dtype)))
        for name, array in arrays(spec).items()
        if array.compressed
    )


def _encoding_seconds(backbone: Backbone, spec: StoreSpec, samples: Sequence[Prepared]) -> float:
    """Seconds an image of one batch; the first forward passes of a process are slower and are not counted."""
    encode_views(backbone, spec, as_images(samples[:1], spec.image_size))
    images = as_images(samples, spec.image_size)
    start = time.perf_counter()
    encode_views(backbone, spec, images)
    if backbone.device.type == "cuda":
        torch.cuda.synchronize(backbone.device)
    return (time.perf_counter() - start) / len(samples)


def _seconds_an_image(backbone: Backbone, settings: ExtractSettings, decoding: float, encoding: float) -> float:
    """Decoding and encoding run at once; on one processor they share its cores."""
    cores = os.cpu_count() or 1
    decoding /= min(settings.threads, cores)
    return decoding + encoding if backbone.device.type == "cpu" else max(decoding, encoding)
