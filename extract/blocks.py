"""Filling whole shards: decoding ahead, encoding, and the bad rows marked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..cache import Quarantined, SpaceClipError, StoreSpec
from ..cache.layout import arrays, layer_array
from .backbone import Backbone
from .samples import Block, OnError, Prepared, decoded
from .settings import ExtractSettings
from .sources import Source
from .stages import ENCODE, Stages


class Filled(NamedTuple):
    """A shard that is ready to be written.

    Attributes:
        shard: Its index.
        block: The rows of every array. They are used again: valid until the shard after the next is asked for.
        quarantined: Rows that could not be read; all their values are zeros.
    """

    shard: int
    block: Block
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True)
class _Encoded:
    """A batch whose features are computed, or on a GPU being computed."""

    shard: int
    rows: range
    samples: list[Prepared]
    features: list[tuple[str, int, Tensor]]
    ready: torch.cuda.Event | None


def shard_blocks(
    source: Source,
    backbone: Backbone,
    spec: StoreSpec,
    settings: ExtractSettings,
    pending: Sequence[int],
    progress: Callable[[int], None] = lambda _done: None,
    *,
    on_error: OnError = "stop",
    stages: Stages | None = None,
) -> Iterator[Filled]:
    """Yield filled shards in turn. Batches never cross a shard, so that a resumed run computes what a whole one would.

    Args:
        source: The samples.
        backbone: The frozen encoder.
        spec: What the store holds.
        settings: Batch size and threads.
        pending: The shards to fill.
        progress: Called with the images done.
        on_error: What to do with a sample that cannot be used.
        stages: Told how long decoding and encoding take.

    Raises:
        SpaceClipError: A sample cannot be used, and `on_error` is `stop`.
    """
    batches = [
        (shard, range(first, min(first + settings.batch_size, spec.rows(shard)[1])))
        for shard in pending
        for first in range(*spec.rows(shard), settings.batch_size)
    ]
    stages = stages or Stages()
    samples = decoded(source, spec, [rows for _, rows in batches], settings.threads, on_error, stages)
    buffers: list[Block] = []
    bad: list[Quarantined] = []
    block: Block = {}
    done = 0
    for batch in _encoded(backbone, spec, batches, samples, stages):
        start, stop = spec.rows(batch.shard)
        if batch.rows.start == start:
            block = _next_block(spec, buffers, stop - start)
            bad = []
        bad += _land(spec, batch, block, batch.rows.start - start, stages)
        done += len(batch.rows)
        progress(done)
        if batch.rows.stop == stop:
            yield Filled(batch.shard, block, tuple(bad))


def encode_views(backbone: Backbone, spec: StoreSpec, images: Tensor) -> list[tuple[str, int, Tensor]]:
    """Features of every view of [B, 3, S, S] images: array, number of the view, values in the host's memory.

    On a GPU they are still on their way when this returns.
    """
    found: list[tuple[str, int, Tensor]] = []
    for number, view in enumerate(spec.views):
        features = backbone.encode(images.flip(-1) if view == "flipped" else images, spec.layers)
        found += [(layer_array(layer), number, _to_host(states)) for layer, states in features.states.items()]
        found.append(("pooled", number, _to_host(features.pooled)))
    return found


def as_images(samples: Sequence[Prepared], size: tuple[int, int]) -> Tensor:
    """The encoder's input of a batch, [B, 3, S, S]; black where a sample is bad, since the batch must keep its size."""
    black = np.zeros((*size, 3), np.uint8)
    rows = [black if isinstance(sample, SpaceClipError) else sample["image"] for sample in samples]
    return torch.from_numpy(np.ascontiguousarray(np.stack(rows).transpose(0, 3, 1, 2)))


def _encoded(
    backbone: Backbone,
    spec: StoreSpec,
    batches: Sequence[tuple[int, range]],
    samples: Iterator[list[Prepared]],
    stages: Stages,
) -> Iterator[_Encoded]:
    """Encoded batches, each given out when the next is under way, so that a GPU is not idle while features are kept."""
    before: _Encoded | None = None
    for (shard, rows), prepared in zip(batches, samples, strict=True):
        with stages.busy(ENCODE):
            features = encode_views(backbone, spec, as_images(prepared, spec.image_size))
            ready = None
            if backbone.device.type == "cuda":
                ready = torch.cuda.Event()
                ready.record(torch.cuda.current_stream(backbone.device))
        if before:
            yield before
        before = _Encoded(shard, rows, prepared, features, ready)
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


def _land(spec: StoreSpec, batch: _Encoded, block: Block, first: int, stages: Stages) -> list[Quarantined]:
    """Put a batch into its place, and zeros where a sample is bad; returns the bad ones."""
    place = slice(first, first + len(batch.rows))
    with stages.busy(ENCODE):
        if batch.ready:
            batch.ready.synchronize()
        for name, view, values in batch.features:
            block[name][place, view] = values.numpy()
    bad = []
    for at, (row, sample) in enumerate(zip(batch.rows, batch.samples, strict=True), first):
        if isinstance(sample, SpaceClipError):
            bad.append(Quarantined(row, spec.entries[row].id, str(sample)))
            for values in block.values():
                values[at] = 0
        else:
            for name, values in sample.items():
                block[name][at] = values
    return bad
