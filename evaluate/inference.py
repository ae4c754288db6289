"""Depth maps of a trained decoder for the rows of a feature store, at the size of their ground truth."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache import FeatureCache, SpaceClipError
from ..train.blocks import resize
from ..train.decoder import DepthDecoder
from ..train.precision import autocast
from .protocol import Protocol
from .scoring import Prediction, mean_metrics, score_image

_Features = tuple[dict[int, NDArray[np.float16]], NDArray[np.float32]]


@dataclass(frozen=True)
class _Batch:
    """What one step reads: (states, pooled) for each view, and one ground truth [H, W] an image."""

    rows: Sequence[int]
    views: list[_Features]
    ground_truths: list[NDArray[np.float32]]


def predict(
    decoder: DepthDecoder,
    cache: FeatureCache,
    indices: Sequence[int] | None = None,
    *,
    flip_average: bool,
    precision: str = "auto",
    batch_size: int = 8,
) -> Iterator[Prediction]:
    """Yield one prediction for each row of the store, in order, on the device where the decoder is.

    The decoder runs in evaluation mode and is left in the mode it was in. The next batch is read meanwhile.

    Args:
        decoder: the weights to use.
        cache: the split; its ground truths may differ in size.
        indices: rows to predict; all if not given.
        flip_average: average with the prediction of the flipped view, flipped back.
        precision: of the arithmetic, as in training.
        batch_size: rows decoded together.

    Raises:
        SpaceClipError: the store lacks depth, a hidden state or the flipped view.
    """
    if flip_average and "flipped" not in cache.views:
        raise SpaceClipError(
            f"the store holds the views {', '.join(cache.views)}, expected a flipped one for flip averaging: "
            "set flip_average to false or extract with it"
        )
    rows = list(range(len(cache)) if indices is None else indices)
    sample_ids, scenes = cache.sample_ids, cache.scenes
    views = ("plain", "flipped") if flip_average else ("plain",)

    def read(rows: list[int]) -> _Batch:
        features = [(cache.states(rows, view, decoder.settings.layers), cache.pooled(rows, view)) for view in views]
        return _Batch(rows, features, [cache.ground_truth(row) for row in rows])

    for batch in _ahead(read, [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]):
        depths = _decode(decoder, batch.views, precision)
        for row, depth, ground_truth in zip(batch.rows, depths, batch.ground_truths, strict=True):
            yield Prediction(sample_ids[row], scenes[row], to_size(depth, ground_truth.shape), ground_truth)


def validate(
    decoder: DepthDecoder,
    cache: FeatureCache,
    indices: Sequence[int] | None = None,
    *,
    protocol: Protocol,
    precision: str = "auto",
    batch_size: int = 8,
) -> dict[str, float]:
    """Return the mean metrics over the rows of a store; "abs_rel" is what checkpoints are chosen by.

    One pass: never flip averaged, whatever the protocol says (method.md, "Recipe").

    Raises:
        SpaceClipError: as `predict` and `score_image`, or no row has a valid pixel.
    """
    protocol = protocol.model_copy(update={"flip_average": False})
    predictions = predict(decoder, cache, indices, flip_average=False, precision=precision, batch_size=batch_size)
    images = (score_image(prediction.depth, prediction.ground_truth, protocol) for prediction in predictions)
    return mean_metrics([metrics for metrics in images if metrics is not None], protocol)


def to_size(depth: Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize a map [h, w] in metres bilinearly (corners not aligned) to float32 [H, W] in main memory."""
    height, width = size
    return resize(depth[None, None], (height, width))[0, 0].cpu().numpy()


@torch.inference_mode()
def _decode(decoder: DepthDecoder, views: list[_Features], precision: str) -> Tensor:
    """Decode the plain and perhaps the flipped view to float32 [B, h, w] on the decoder's device."""
    device = next(decoder.parameters()).device
    was_training = decoder.training
    decoder.eval()
    try:
        with autocast(precision, device):
            depths = [
                decoder(
                    {layer: torch.from_numpy(state).to(device) for layer, state in states.items()},
                    torch.from_numpy(pooled).to(device),
                ).depth.float()
                for states, pooled in views
            ]
    finally:
        decoder.train(was_training)
    # Resizing is linear and knows no left or right: averaging before it gives the same map, and costs less.
    plain, *flipped = (depth[:, 0] for depth in depths)
    return (plain + flipped[0].flip(-1)) / 2 if flipped else plain


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
