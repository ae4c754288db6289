"""Depth maps of a trained decoder for the rows of a feature store."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache import Features, SpaceClipError
from ..train import DepthDecoder, autocast
from .protocol import Size
from .scoring import AVERAGED, PLAIN, DepthMaps
from .truths import Truths, read_truths

_View = tuple[dict[int, Tensor], Tensor]


@dataclass(frozen=True)
class StoredBatch:
    """What is decoded and scored together.

    Attributes:
        rows: Of the store.
        sample_ids: Their samples.
        scenes: Of the samples.
        views: Hidden states and pooled vectors, of the plain view and perhaps the flipped one, on the device.
        truths: Ground truths of each image by size.
    """

    rows: Sequence[int]
    sample_ids: Sequence[str]
    scenes: Sequence[str | None]
    views: Sequence[_View]
    truths: Sequence[dict[Size | None, NDArray[np.float32]]]


def predict(
    decoder: DepthDecoder,
    cache: Features,
    indices: Sequence[int] | None = None,
    *,
    flip_average: bool,
    truths: Truths | None = None,
    precision: str = "auto",
    batch_size: int = 8,
) -> Iterator[DepthMaps]:
    """Yield the depth maps of each row of the store, in order, as the decoder makes them, on its device.

    The plain prediction always; with flip averaging also its average with the prediction of the flipped view, flipped
    back.

    Args:
        decoder: The weights to use.
        cache: The split; its ground truths may differ in size.
        indices: See `read_batches`.
        flip_average: Decode the flipped view too.
        truths: See `read_batches`.
        precision: Of the arithmetic, as in training.
        batch_size: Rows decoded together.

    Raises:
        SpaceClipError: The store lacks depth, a hidden state or the flipped view.
    """
    reading = (decoder.settings.layers, device_of(decoder))
    batches = read_batches(cache, indices, *reading, flip_average=flip_average, truths=truths, batch_size=batch_size)
    for batch in batches:
        yield from decode_batch(decoder, batch, precision)


def read_batches(
    cache: Features,
    indices: Sequence[int] | None,
    layers: Sequence[int],
    device: torch.device,
    *,
    flip_average: bool,
    truths: Truths | None = None,
    batch_size: int = 8,
) -> Iterator[StoredBatch]:
    """Yield rows of a store, in order, with their ground truths; the next batch is read meanwhile.

    Args:
        cache: The split.
        indices: Rows to read; all if not given. Those that extraction quarantined are left out.
        layers: Hidden states to read.
        device: Where they shall be.
        flip_average: Read the flipped view too.
        truths: Reads the ground truths of a row, see `read_truths`; by default at their native size.
        batch_size: Rows of a batch.

    Raises:
        SpaceClipError: The store lacks depth, a hidden state or the flipped view.
    """
    if flip_average and "flipped" not in cache.views:
        raise SpaceClipError(
            f"the store holds the views {', '.join(cache.views)}, expected a flipped one for flip averaging: "
            "set flip_average to false or extract with it"
        )
    unusable = cache.quarantined
    rows = [row for row in (range(len(cache)) if indices is None else indices) if row not in unusable]
    sample_ids, scenes = cache.sample_ids, cache.scenes
    views = ("plain", "flipped") if flip_average else ("plain",)
    truths = truths or read_truths(cache, [None])

    def stored(rows: list[int], view: str) -> _View:
        states = cache.states(rows, view, layers)
        moved = {layer: torch.from_numpy(state).to(device) for layer, state in states.items()}
        return moved, torch.from_numpy(cache.pooled(rows, view)).to(device)

    def read(rows: list[int]) -> StoredBatch:
        features = [stored(rows, view) for view in views]
        named = [sample_ids[row] for row in rows], [scenes[row] for row in rows]
        return StoredBatch(rows, *named, features, [truths(row) for row in rows])

    return _ahead(read, [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)])


def decode_batch(decoder: DepthDecoder, batch: StoredBatch, precision: str) -> Iterator[DepthMaps]:
    """Yield what a decoder makes of the images of a batch, see `predict`."""
    depths = _decode(decoder, batch.views, precision)
    for at, row in enumerate(batch.rows):
        maps = {name: depth[at] for name, depth in depths.items()}
        yield DepthMaps(row, batch.sample_ids[at], batch.scenes[at], maps, batch.truths[at])


@torch.inference_mode()
def decode(decoder: DepthDecoder, states: Mapping[int, Tensor], pooled: Tensor, precision: str) -> Tensor:
    """Decode hidden states [B, P, C] by layer and pooled vectors [B, C] to float32 metres [B, 1, h, w].

    The decoder, on whose device they are, runs in evaluation mode and is left in the mode it was in.

    Raises:
        SpaceClipError: The precision is unknown, or the decoder was made for other states.
    """
    with evaluating([decoder]), autocast(precision, pooled.device):
        return decoder(states, pooled).depth.float()


@contextmanager
def evaluating(decoders: Iterable[DepthDecoder]) -> Iterator[None]:
    """Context in which decoders are in evaluation mode; after it each is in the mode that it was in."""
    learning = [decoder for decoder in decoders if decoder.training]
    for decoder in learning:
        decoder.eval()
    try:
        yield
    finally:
        for decoder in learning:
            decoder.train()


@torch.inference_mode()
def _decode(decoder: DepthDecoder, views: Sequence[_View], precision: str) -> dict[str, Tensor]:
    """Decode the plain and perhaps the flipped view to float32 [B, h, w] on the decoder's device."""
    depths = [decode(decoder, states, pooled, precision)[:, 0] for states, pooled in views]
    # Resizing is linear and knows no left or right: averaging before it gives the same map, and costs less.
    plain, *flipped = depths
    return {PLAIN: plain, AVERAGED: (plain + flipped[0].flip(-1)) / 2} if flipped else {PLAIN: plain}


def device_of(decoder: DepthDecoder) -> torch.device:
    """Where its weights are."""
    return next(decoder.parameters()).device


def _ahead(read: Callable[[list[int]], StoredBatch], batches: list[list[int]]) -> Iterator[StoredBatch]:
    """Read each batch in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="evaluate") as reader:
        reading = [reader.submit(read, rows) for rows in batches[:1]]
        for rows in batches[1:]:
            ready = reading.pop()
            reading.append(reader.submit(read, rows))
            yield ready.result()
        for last in reading:
            yield last.result()
