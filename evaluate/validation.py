"""Validation of decoders in training: all of them in one pass over the store, scored on their device."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cache import Batches, Features, SpaceClipError
from ..train import HELD, DepthDecoder, Inputs, allocator, feed, resize, side_by_side
from .batch_metrics import batch_metrics
from .crops import crop_bounds
from .inference import decode, device_of, evaluating
from .metrics import METRICS, not_a_depth
from .protocol import Protocol
from .scoring import nothing_valid

Seen = Callable[[int, int, Tensor], None]
"""What is called with each prediction: number of the candidate, row, and the map [h, w] in metres, on its device."""

_Truths = Sequence[tuple[list[int], Tensor]]
"""Ground truths [N, H, W] in metres of each size, and which images of the batch they are of."""


def validate(
    candidates: Sequence[tuple[DepthDecoder | Tensor, Protocol, str]],
    cache: Features,
    *,
    batch_size: int | None = None,
    seen: Seen | None = None,
) -> list[dict[str, float] | SpaceClipError]:
    """The mean metrics of decoders over the rows of a store; "abs_rel" is what checkpoints are chosen by.

    Against the ground truth at its native size; never flip averaged nor scaled by medians, whatever a protocol says
    (method.md, "Recipe"). The store is read once, and nothing is read from the device before the end.

    Args:
        candidates: Decoders, all on one device, each with its protocol and the precision of its arithmetic; or a map
            [h, w] in metres, which is then predicted whatever the image.
        cache: The validation split.
        batch_size: Images decoded together; by default 16, or 8 on a CPU, where more of them take longer each.
        seen: Is shown each prediction, whose memory lasts as long as its batch; of several candidates by threads.

    Returns:
        For each candidate its metrics, or why it has none: the store lacks a hidden state, the precision is unknown,
        the crop does not fit, a prediction is not a number, or no row has a valid pixel.

    Raises:
        SpaceClipError: The store has no depth, or cannot be read.
    """
    trials = [_Trial(number, *candidate) for number, candidate in enumerate(candidates)]
    for trial in trials:
        trial.attempt(cache.require, trial.layers, depth=True)
    scored = [trial for trial in trials if trial.error is None]
    rows, order = cache.usable, list[int]()
    if scored and rows.size:
        layers = sorted({layer for trial in scored for layer in trial.layers})
        decoders = [trial.predictor for trial in scored if isinstance(trial.predictor, DepthDecoder)]
        device = device_of(decoders[0]) if decoders else torch.device("cpu")
        size = min(batch_size or (8 if device.type == "cpu" else 16), rows.size)
        batches = Batches(
            *(cache, size, layers), seed=0, flip_probability=0, native=True, held=HELD, allocate=allocator(device)
        )
        parts = np.split(rows, range(size, rows.size, size))
        read = batches.read((part, np.zeros(len(part), np.bool_)) for part in parts)
        with evaluating(decoders), side_by_side(len(scored), device) as each:
            for part, inputs in zip(parts, feed(read, device), strict=True):
                truths = _by_size(inputs.depth[:, 0], [cache.ground_truth_size(row) for row in part.tolist()])
                order += [part[at] for images, _ in truths for at in images]
                each(partial(_add, scored, inputs, truths, part.tolist(), seen))
            each.finish()
    ids = cache.sample_ids
    for trial in trials:
        trial.attempt(trial.finish, [ids[row] for row in order])
    return [trial.error or trial.mean for trial in trials]


@torch.inference_mode()
def _add(
    trials: "Sequence[_Trial]", inputs: Inputs, truths: _Truths, rows: Sequence[int], seen: Seen | None, number: int
) -> None:
    trials[number].attempt(trials[number].add, inputs, truths, rows, seen)


class _Trial:
    """A decoder or a map, and what is known of it so far.

    Attributes:
        mean: Its metrics, once it is finished.
        error: Why it cannot be scored.
    """

    def __init__(self, number: int, predictor: DepthDecoder | Tensor, protocol: Protocol, precision: str) -> None:
        self.number, self.predictor, self.precision = number, predictor, precision
        self.protocol = protocol.model_copy(update={"flip_average": False, "median_scaling": False, "size": None})
        self.mean: dict[str, float] = {}
        self.error: SpaceClipError | None = None
        self._found: list[Tensor] = []

    @property
    def layers(self) -> Sequence[int]:
        """Hidden states that it needs."""
        return () if isinstance(self.predictor, Tensor) else self.predictor.settings.layers

    def attempt(self, work: Callable[..., None], *given: Any, **named: Any) -> None:
        """Do what may end this trial, and no other; nothing once it has ended."""
        if self.error is None:
            try:
                work(*given, **named)
            except SpaceClipError as error:
                self.error = error

    def add(self, inputs: Inputs, truths: _Truths, rows: Sequence[int], seen: Seen | None) -> None:
        """Score a batch; what is found stays on the device."""
        if isinstance(self.predictor, Tensor):
            depth = self.predictor.to(inputs.depth.device).expand(len(rows), 1, -1, -1)
        else:
            depth = decode(self.predictor, inputs.states, inputs.pooled, self.precision)
        for at, row in enumerate(rows if seen else ()):
            seen(self.number, row, depth[at, 0])  # pyright: ignore[reportOptionalCall]
        low, high = self.protocol.depth_range
        for images, truth in truths:
            height, width = truth.shape[-2:]
            top, bottom, left, right = crop_bounds(self.protocol.crop, height, width)
            target = truth[:, top:bottom, left:right]
            prediction = resize(depth[images], (height, width))[:, 0, top:bottom, left:right].clamp(low, high)
            self._found.append(batch_metrics(prediction, target, (target > low) & (target < high)))

    def finish(self, sample_ids: Sequence[str]) -> None:
        """Take the mean over the images, each with equal weight."""
        found = torch.cat(self._found).cpu().double().numpy() if self._found else np.zeros((0, 1 + len(METRICS)))
        known, metrics = found[:, 0] > 0, found[:, 1:]
        if wrong := [name for name, row in zip(sample_ids, known & np.isnan(metrics).any(1), strict=True) if row]:
            raise SpaceClipError(f"{wrong[0]}: {not_a_depth('prediction', np.nan)}")
        if not known.any():
            raise nothing_valid(self.protocol)
        self.mean = dict(zip(METRICS, metrics[known].mean(0).tolist(), strict=True))


def _by_size(depth: Tensor, sizes: Sequence[tuple[int, int]]) -> _Truths:
    """Divide the ground truths [B, H, W] of a batch into those that are scored at once.

    On a CPU each alone: all that is computed of it then stays in the processor's cache.
    """
    groups: dict[tuple[int, int, int], list[int]] = {}
    for at, size in enumerate(sizes):
        groups.setdefault((*size, at if depth.device.type == "cpu" else 0), []).append(at)
    return [(images, depth[images, :height, :width]) for (height, width, _), images in groups.items()]
