"""Filling whole shards: decoding ahead, encoding, and the bad rows marked."""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import tee
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..cache import (
    POOLED,
    Quarantined,
    Record,
    SpaceClipError,
    StoreSpec,
    arrays,
    layer_array,
    out_of_memory,
    part_name,
)
from .remaining import Work
from .samples import Block, OnError, Prepared, decoded
from .settings import ExtractSettings
from .sources.source import Source
from .stages import ENCODE, Stages
from .towers import Backbone


class Filled(NamedTuple):
    """A shard that is ready to be written.

    Attributes:
        shard: Its index.
        block: The rows of every array. They are used again: valid until the shard after the next is asked for. Parts
            that were kept are not filled in.
        quarantined: Rows that could not be read; all their values are zeros.
        kept: Names the parts that the store has already.
    """

    shard: int
    block: Block
    quarantined: tuple[Quarantined, ...]
    kept: Record | None = None


class _Batch(NamedTuple):
    """Rows of a shard that are computed at once, and whether they are its last."""

    shard: int
    rows: list[int]
    last: bool


@dataclass(frozen=True)
class _Encoded:
    """A batch whose features are computed, or on a GPU being computed."""

    batch: _Batch
    samples: list[Prepared]
    features: list[tuple[str, int, Tensor]]
    ready: torch.cuda.Event | None


def shard_blocks(
    source: Source,
    backbone: Backbone,
    work: Work,
    settings: ExtractSettings,
    progress: Callable[[int], None] = lambda _done: None,
    *,
    on_error: OnError = "stop",
    stages: Stages | None = None,
) -> Iterator[Filled]:
    """Yield filled shards in turn. Batches never cross a shard, so that a resumed run computes what a whole one would.

    Args:
        source: The samples.
        backbone: The frozen encoder.
        work: The shards to fill, and what of them is known.
        settings: Batch size and threads.
        progress: Called with the images done.
        on_error: What to do with a sample that cannot be used.
        stages: Counts how long decoding and encoding take.

    Raises:
        SpaceClipError: A sample cannot be used, and `on_error` is `stop`; a store that rows come from is
            damaged; or memory runs out.
    """
    with enough_memory(settings):
        yield from _filled(source, backbone, work, settings, progress, on_error, stages or Stages())


def enough_memory(settings: ExtractSettings) -> AbstractContextManager[None]:
    """Context in which memory that runs out is one line.

    Raises:
        SpaceClipError: It did.
    """
    batch = settings.batch_size or "chosen by itself"
    return out_of_memory(
        f"give it more, or lower batch_size (now {batch}) or shard (now {settings.shard} images), then run the same "
        "command again to go on from what is saved"
    )


def _filled(
    source: Source,
    backbone: Backbone,
    work: Work,
    settings: ExtractSettings,
    progress: Callable[[int], None],
    on_error: OnError,
    stages: Stages,
) -> Iterator[Filled]:
    spec = work.spec
    size = spec.computed["batch"]
    batches, ahead = tee(_batches(work, size))
    rows, most = (batch.rows for batch in ahead), min(size, spec.shard)
    samples = decoded(source, spec, rows, most, settings.threads_here(), on_error, stages)
    buffers: list[Block] = []
    bad: list[Quarantined] = []
    block: Block = {}
    done, filling = 0, -1
    for encoded in _encoded(backbone, work, batches, samples, stages):
        shard, rows, last = encoded.batch
        start, stop = spec.rows(shard)
        if shard != filling:
            filling, block, bad = shard, _next_block(spec, buffers, stop - start), []
            work.copy_known(shard, block)
        bad += _land(spec, encoded, block, start, stages)
        done += len(rows)
        progress(done)
        if last:
            yield Filled(shard, block, tuple(bad), work.kept.get(shard))


def _batches(work: Work, size: int) -> Iterator[_Batch]:
    """Rows by batches; one without any where all of a shard are known, so that every shard has a batch."""
    for shard in work.shards:
        rows = work.rows(shard)
        for first in range(0, max(len(rows), 1), size):
            yield _Batch(shard, rows[first : first + size], first + size >= len(rows))


def encode_views(
    backbone: Backbone, spec: StoreSpec, images: Tensor, wanted: Set[str]
) -> list[tuple[str, int, Tensor]]:
    """Features of [B, 3, S, S] images: array, number of the view, values in the host's memory, of the parts wanted.

    On a GPU they are still on their way when this returns.
    """
    found: list[tuple[str, int, Tensor]] = []
    if backbone.device.type == "cuda":
        # From pageable memory the copy would wait until the GPU is done with the batch before.
        images = images.pin_memory().to(backbone.device, non_blocking=True)
    for number, view in enumerate(spec.views):
        layers = [layer for layer in spec.layers if part_name(layer_array(layer), view) in wanted]
        if not layers and part_name(POOLED, view) not in wanted:
            continue
        features = backbone.encode(images.flip(-1) if view == "flipped" else images, layers)
        found += [
            (layer_array(layer), number, _to_host(states.to(torch.float16)))
            for layer, states in features.states.items()
        ]
        found.append(("pooled", number, _to_host(features.pooled)))
    return found


def as_images(samples: Sequence[Prepared], size: tuple[int, int]) -> Tensor:
    """The encoder's input of a batch, [B, 3, S, S]; black where a sample is bad, since the batch must keep its size."""
    black = np.zeros((*size, 3), np.uint8)
    rows = [black if isinstance(sample, SpaceClipError) else sample["image"] for sample in samples] or [black]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


def _encoded(
    backbone: Backbone,
    work: Work,
    batches: Iterator[_Batch],
    samples: Iterator[list[Prepared]],
    stages: Stages,
) -> Iterator[_Encoded]:
    """Encoded batches, each given out when the next is under way, so that a GPU is not idle while features are kept."""
    before: _Encoded | None = None
    for batch, prepared in zip(batches, samples, strict=True):
        with stages.busy(ENCODE):
            images = as_images(prepared, work.spec.image_size)
            features = encode_views(backbone, work.spec, images, work.missing(batch.shard)) if batch.rows else []
            ready = None
            if backbone.device.type == "cuda":
                ready = torch.cuda.Event()
                ready.record(torch.cuda.current_stream(backbone.device))
        if before:
            yield before
        before = _Encoded(batch, prepared, features, ready)
    if before:
        yield before


def _to_host(features: Tensor) -> Tensor:
    if features.device.type != "cuda":
        return features.cpu()
    host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    return host.copy_(features, non_blocking=True)


def _next_block(spec: StoreSpec, buffers: list[Block], rows: int) -> Block:
    """Room for a shard. Two buffers take turns: one is filled while the other is written."""
    if len(buffers) < 2:
        whole = spec.rows(0)[1]
        buffers.append({name: np.zeros((whole, *a.shape[1:]), a.dtype) for name, a in arrays(spec).items()})
    else:
        buffers.reverse()
    return {name: values[:rows] for name, values in buffers[-1].items()}


def _land(spec: StoreSpec, encoded: _Encoded, block: Block, start: int, stages: Stages) -> list[Quarantined]:
    """Put a batch into its place, and zeros where a sample is bad; returns the bad ones."""
    rows = encoded.batch.rows
    places = [row - start for row in rows]
    # Numbers that follow one another are copied at once.
    place = slice(places[0], places[-1] + 1) if places and places[-1] - places[0] + 1 == len(places) else places
    with stages.busy(ENCODE):
        if encoded.ready:
            encoded.ready.synchronize()
        for name, view, values in encoded.features:
            block[name][place, view] = values.numpy()
    bad = []
    for at, row, sample in zip(places, rows, encoded.samples, strict=True):
        if isinstance(sample, SpaceClipError):
            bad.append(Quarantined(row, spec.entries[row].id, str(sample)))
            for values in block.values():
                values[at] = 0
        else:
            for name, values in sample.items():
                block[name][at] = values
    return bad
