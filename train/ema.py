"""Exponential moving average of a decoder's weights."""

import copy

import torch
from torch import Tensor

from .decoder import DepthDecoder


class EMA:
    """A second decoder whose weights and buffers follow the first: a <- decay * a + (1 - decay) * w, every step.

    Args:
        model: The decoder to follow.
        decay: Share of the average that a step keeps.
        warmup: Keep less in the first steps: min(decay, (1 + n) / (10 + n)) after n of them.

    Attributes:
        model: The averaged decoder, in evaluation mode and without gradients.
    """

    def __init__(self, model: DepthDecoder, decay: float, *, warmup: bool) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.warmup = decay, warmup

    @torch.no_grad()
    def update(self, model: DepthDecoder, step: int) -> None:
        """Move towards the weights of a model, `step` updates after the first; integer buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        ours, theirs = _tensors(self.model), _tensors(model)
        moving = [pair for pair in zip(ours, theirs, strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [own for own, _ in moving], [other for _, other in moving], 1 - decay
        )
        for own, other in zip(ours, theirs, strict=True):
            if not own.is_floating_point():
                own.copy_(other)


def _tensors(model: DepthDecoder) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
