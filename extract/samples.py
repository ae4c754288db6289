"""From files to the arrays of a sample that need no encoder."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..cache import DepthSpec, SpaceClipError, StoreSpec
from .preprocess import prepare_depth, prepare_image, some_rows
from .reading import DEPTH_BYTES, PICTURE_BYTES, read_each
from .sources.source import Loader, Sample

Block = dict[str, NDArray[Any]]
OnError = Literal["stop", "quarantine"]

T = TypeVar("T")


def prepare_sample(source: Loader, spec: StoreSpec, row: int) -> Block:
    """Decode one sample and bring it to the store's sizes: its rows of every array that needs no encoder.

    Raises:
        SpaceClipError: It cannot be read, or its depth cannot be right.
    """
    sample = source.load(row)
    target = spec.preprocessing["target_size"]
    prepared: Block = {"image": prepare_image(sample.image, target, spec.image_size[0])}
    if spec.depth:
        prepared |= _prepare_depth(sample, spec.depth)
    return prepared


def pixel_bytes(spec: StoreSpec) -> int:
    """Bytes that a pixel of a sample takes while it is decoded."""
    return PICTURE_BYTES + (DEPTH_BYTES if spec.depth else 0)


def each_sample(
    source: Loader,
    spec: StoreSpec,
    rows: Sequence[int],
    threads: int,
    use: Callable[[Block], T],
    say: Callable[[str], None] = lambda _line: None,
) -> list[T | SpaceClipError]:
    """What `use` makes of some samples; in place of one that cannot be used, why."""

    def read(row: int) -> T:
        return use(prepare_sample(source, spec, row))

    return list(read_each(rows, read, lambda row: spec.entries[row].id, threads, say))


def _prepare_depth(sample: Sample, spec: DepthSpec) -> Block:
    room = spec.native or spec.size
    depth = np.zeros(room, np.float32) if sample.depth is None else sample.depth
    # Headers were read when the samples were listed; a map replaced since then may have another size.
    if depth.shape != room if spec.native is None else depth.shape[0] > room[0] or depth.shape[1] > room[1]:
        height, width = depth.shape
        raise SpaceClipError(
            f"{sample.id}: depth is {height} x {width}, but {room[0]} x {room[1]} "
            f"{'was' if spec.native is None else 'was the most'} when it was listed: the file was replaced; "
            "run the same command again"
        )
    counts = _counts(sample.id, depth, spec)
    prepared: Block = {"depth": prepare_depth(counts, spec.size)}
    if spec.native:
        padding = [(0, whole - size) for whole, size in zip(spec.native, depth.shape, strict=True)]
        prepared["ground_truth"] = np.pad(counts, padding)
        prepared["ground_truth_size"] = np.array(depth.shape, np.int32)
    return prepared


def _counts(sample: str, depth: NDArray[np.float32], spec: DepthSpec) -> NDArray[np.unsignedinteger[Any]]:
    unit, most = spec.unit, np.iinfo(spec.counts).max
    counts, low, high = np.empty(depth.shape, spec.counts), 0.0, 0.0
    for some in some_rows(depth.shape):
        found = np.rint(depth[some].astype(np.float64) / unit)
        low, high = np.minimum(low, found.min()), np.maximum(high, found.max())
        with np.errstate(invalid="ignore"):  # refused below
            counts[some] = found
    if not 0 <= low <= high <= most:
        raise SpaceClipError(
            f"{sample}: depth from {depth.min():g} to {depth.max():g} m, but in steps of {unit:g} m a store holds 0 to "
            f"{most * unit:,.0f} m; check the unit (--depth-scale)"
        )
    return counts
