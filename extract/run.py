"""The extraction run on one machine: decoding, encoding and writing at once, a shard at a time."""

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from ..cache import DepthSpec, FeatureCache, Pointer, SpaceClipError, StoreSpec, StoreWriter
from ..cache.layout import arrays, layer_array
from .backbone import MEAN, STD, Backbone
from .preprocess import prepare_depth, prepare_image
from .sources import Sample, Source

Block = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]


class ExtractSettings(BaseModel):
    """What to keep of each image, and how to go about it.

    Attributes:
        layers: Hidden states to keep.
        views: `plain`, or `plain` and `flipped` (the encoder's view of the mirrored image).
        target_size: (height, width) that images and depth are brought to first; None where all depth maps agree.
        batch_size: Images in one forward pass; each counts once a view.
        shard: Images in one stored object. A run that is killed loses at most the shard it was at.
        threads: Threads that decode images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[int, ...] = Field(default=(0, 1, 2, 3, 6, 9, 12), min_length=1)
    views: tuple[Literal["plain", "flipped"], ...] = Field(default=("plain", "flipped"), min_length=1)
    target_size: tuple[PositiveInt, PositiveInt] | None = None
    batch_size: PositiveInt = 16
    shard: PositiveInt = 64
    threads: PositiveInt = 4


@dataclass(frozen=True)
class Extraction:
    """What a run did.

    Attributes:
        pointer: The pointer file that it left.
        store: The store that the pointer means.
        images: Images in the store.
        computed: Of these, images that this run had to compute.
    """

    pointer: Path
    store: Path
    images: int
    computed: int


def extract(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    folder: Path,
    split: str,
    about: Mapping[str, Any],
    progress: Progress = lambda _done, _total: None,
) -> Extraction:
    """Fill the store of one split, or finish one that was interrupted, and leave a pointer to it.

    The store lies at `<folder>/<split>-<fingerprint>.zarr`, the pointer at `<folder>/<split>.json`.

    Args:
        source: The samples; `source.check()` finds most bad input before long work, and is the caller's to make.
        backbone: The frozen encoder.
        settings: What to keep.
        folder: Where stores and pointers go.
        split: Name of the split.
        about: What a reader may want to know of the data set.
        progress: Called with (images done, images in all).

    Raises:
        SpaceClipError: Bad input found before or during the run, a layer that the encoder lacks, or too little space.
            Shards committed until then are kept.
    """
    backbone.check_layers(settings.layers)
    spec = store_spec(source, backbone, settings)
    writer = StoreWriter(folder / f"{split}-{spec.fingerprint}.zarr", spec, about)
    pending = writer.pending
    _check_space(writer, pending)
    total = len(spec.entries)
    done = total - sum(stop - start for start, stop in map(spec.rows, pending))
    progress(done, total)
    with ThreadPoolExecutor(1, thread_name_prefix="store") as storing:
        writing: Future[object] | None = None
        for shard, block in _blocks(source, backbone, spec, settings, pending, lambda n: progress(done + n, total)):
            if writing:
                writing.result()
            writing = storing.submit(writer.write, shard, block)
        if writing:
            writing.result()
    cache = FeatureCache.open(writer.path)
    pointer = folder / f"{split}.json"
    Pointer(writer.path.name, spec.fingerprint, total, cache.digest).write(pointer)
    return Extraction(pointer, writer.path, total, total - done)


def store_spec(source: Source, backbone: Backbone, settings: ExtractSettings) -> StoreSpec:
    """What the store of a source will hold.

    Raises:
        SpaceClipError: Depth maps of several sizes and no target size.
    """
    depth = _depth_spec(source, settings.target_size)
    target = depth.size if depth else settings.target_size
    return StoreSpec(
        backbone=backbone.identity,
        preprocessing={"target_size": target, "resample": "bicubic", "mean": MEAN, "std": STD},
        layers=settings.layers,
        views=settings.views,
        patches=backbone.patches,
        channels=backbone.channels,
        image_size=(backbone.input_size, backbone.input_size),
        depth=depth,
        entries=source.entries,
        shard=settings.shard,
    )


def _depth_spec(source: Source, target: tuple[int, int] | None) -> DepthSpec | None:
    if source.depth_unit is None:
        return None
    sizes = [size for size in source.depth_sizes() if size is not None]
    found = sorted(set(sizes))
    if not found:
        raise SpaceClipError(
            "none of these images has depth, while others of the data set do; give depth for some of them"
        )
    if target is None and len(found) > 1:
        listed = ", ".join(f"{height} x {width} ({sizes.count((height, width))})" for height, width in found[:4])
        raise SpaceClipError(
            f"depth maps of {len(found)} sizes: {listed}; training needs one, "
            "give it as target_size (--size HEIGHT WIDTH)"
        )
    size = target or found[0]
    native = None if found == [size] else (max(height for height, _ in found), max(width for _, width in found))
    return DepthSpec(source.depth_unit, size, native)


def _check_space(writer: StoreWriter, pending: Sequence[int]) -> None:
    """Refuse a run that cannot end well, by the size of the arrays that do not compress."""
    plain = sum(
        int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize
        for array in arrays(writer.spec).values()
        if not array.compressed
    )
    needed = plain * sum(stop - start for start, stop in map(writer.spec.rows, pending))
    free = shutil.disk_usage(writer.path).free
    if needed > free:
        raise SpaceClipError(
            f"{writer.path}: the store needs {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; "
            "make room, keep fewer layers or views, or give another --out"
        )


def _blocks(
    source: Source,
    backbone: Backbone,
    spec: StoreSpec,
    settings: ExtractSettings,
    pending: Sequence[int],
    progress: Callable[[int], None],
) -> Iterator[tuple[int, Block]]:
    """Filled shards in turn. Batches never cross a shard, so that a resumed run computes what a whole one would."""
    batches = [
        (shard, range(first, min(first + settings.batch_size, spec.rows(shard)[1])))
        for shard in pending
        for first in range(*spec.rows(shard), settings.batch_size)
    ]
    done = 0
    block: Block = {}
    for (shard, rows), samples in zip(batches, _decoded(source, spec, batches, settings.threads), strict=True):
        start, stop = spec.rows(shard)
        if rows.start == start:
            block = {name: np.zeros((stop - start, *a.shape[1:]), a.dtype) for name, a in arrays(spec).items()}
        place = slice(rows.start - start, rows.stop - start)
        for name in samples[0]:
            block[name][place] = np.stack([sample[name] for sample in samples])
        _encode(backbone, spec, block, place)
        done += len(rows)
        progress(done)
        if rows.stop == stop:
            yield shard, block


def _decoded(
    source: Source, spec: StoreSpec, batches: Sequence[tuple[int, range]], threads: int
) -> Iterator[list[Block]]:
    """Decoded and prepared samples batch by batch, two batches ahead of the encoder."""
    waiting: deque[list[Future[Block]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            for _, rows in batches:
                waiting.append([pool.submit(_prepare, source, spec, row) for row in rows])
                if len(waiting) > 2:
                    yield [sample.result() for sample in waiting.popleft()]
            while waiting:
                yield [sample.result() for sample in waiting.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare(source: Source, spec: StoreSpec, row: int) -> Block:
    """The arrays of one sample that need no encoder."""
    sample = source.load(row)
    target = spec.preprocessing["target_size"]
    prepared: Block = {"image": prepare_image(sample.image, target, spec.image_size[0]).transpose(1, 2, 0)}
    if spec.depth:
        prepared |= _prepare_depth(sample, spec.depth)
    return prepared


def _prepare_depth(sample: Sample, spec: DepthSpec) -> Block:
    depth = np.zeros(spec.native or spec.size, np.float32) if sample.depth is None else sample.depth
    prepared: Block = {"depth": _counts(prepare_depth(depth, spec.size), spec.unit)}
    if spec.native:
        padding = [(0, whole - size) for whole, size in zip(spec.native, depth.shape, strict=True)]
        prepared["ground_truth"] = np.pad(_counts(depth, spec.unit), padding)
        prepared["ground_truth_size"] = np.array(depth.shape, np.int32)
    return prepared


def _counts(depth: NDArray[np.float32], unit: float) -> NDArray[np.uint32]:
    return np.rint(depth.astype(np.float64) / unit).astype(np.uint32)


def _encode(backbone: Backbone, spec: StoreSpec, block: Block, place: slice) -> None:
    """Features of every view of the images in place."""
    images = torch.from_numpy(np.ascontiguousarray(block["image"][place].transpose(0, 3, 1, 2)))
    for number, view in enumerate(spec.views):
        features = backbone.encode(images.flip(-1) if view == "flipped" else images, spec.layers)
        for layer, states in features.states.items():
            block[layer_array(layer)][place, number] = states.cpu().numpy()
        block["pooled"][place, number] = features.pooled.cpu().numpy()
