"""Depth maps of a trained decoder for the rows of a feature store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

_View = tuple[dict[int, NDArray[np.float16]], NDArray[np.float32]]


@dataclass(frozen=True)
class _Batch:
    """What one step reads: (states, pooled) for each view, and the ground truths of each image by size."""

    rows: Sequence[int]
    views: list[_View]
    truths: list[dict[Size | None, NDArray[np.float32]]]


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
    back. Rows that extraction quarantined are left out. The next batch is read meanwhile.

    Args:
        decoder: The weights to use.
        cache: The split; its ground truths may differ in size.
        indices: Rows to predict; all if not given.
        flip_average: Decode the flipped view too.
        truths: Reads the ground truths of a row, see `read_truths`; by default at their native size.
        precision: Of the arithmetic, as in training.
        batch_size: Rows decoded together.

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

    def read(rows: list[int]) -> _Batch:
        features = [(cache.states(rows, view, decoder.settings.layers), cache.pooled(rows, view)) for view in views]
        return _Batch(rows, features, [truths(row) for row in rows])

    for batch in _ahead(read, [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]):
        depths = _decode(decoder, batch.views, precision)
        for at, row in enumerate(batch.rows):
            maps = {name: depth[at] for name, depth in depths.items()}
            yield DepthMaps(row, sample_ids[row], scenes[row], maps, batch.truths[at])


@torch.inference_mode()
def decode(decoder: DepthDecoder, states: Mapping[int, Tensor], pooled: Tensor, precision: str) -> Tensor:
    """Decode hidden states [B, P, C] by layer and pooled vectors [B, C] to float32 metres [B, 1, h, w].

    The decoder, on whose device they are, runs in evaluation mode and is left in the mode it was in.

    Raises:
        SpaceClipError: The precision is unknown, or the decoder was made for other states.
    """
    was_training = decoder.training
    decoder.eval()
    try:
        with autocast(precision, pooled.device):
            return decoder(states, pooled).depth.float()
    finally:
        decoder.train(was_training)


@torch.inference_mode()
def _decode(decoder: DepthDecoder, views: list[_View], precision: str) -> dict[str, Tensor]:
    """Decode the plain and perhaps the flipped view to float32 [B, h, w] on the decoder's device."""
    device = device_of(decoder)
    depths = []
    for states, pooled in views:
        moved = {layer: torch.from_numpy(state).to(device) for layer, state in states.items()}
        depths.append(decode(decoder, moved, torch.from_numpy(pooled).to(device), precision)[:, 0])
    # Resizing is linear and knows no left or right: averaging before it gives the same map, and costs less.
    plain, *flipped = depths
    return {PLAIN: plain, AVERAGED: (plain + flipped[0].flip(-1)) / 2} if flipped else {PLAIN: plain}


def device_of(decoder: DepthDecoder) -> torch.device:
    """Where its weights are."""
    return next(decoder.parameters()).device


def _ahead(read: Callable[[list[int]], _Batch], batches: list[list[int]]) -> Iterator[_Batch]:
    """Read each batch in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="evaluate") as reader:
        reading = [reader.submit(read, rows) for rows in batches[:1]]
        for rows in batches[1:]:
            ready = reading.pop()
            reading.append(reader.submit(read, rows))
            yield ready.result()
        for last in reading:
            yield last.result()
