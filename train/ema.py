"""Exponential moving average of a decoder's weights."""

import copy

import torch
from torch import Tensor

from .decoder import DepthDecoder


class EMA:
    """A second decoder whose weights and buffers follow the first: a <- decay * a + (1 - decay) * w, every step.

    Attributes:
        model: The averaged decoder, in evaluation mode and without gradients.
    """

    def __init__(self, model: DepthDecoder, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: DepthDecoder) -> None:
        """Move towards the weights of a model; integer buffers are copied."""
        ours, theirs = _tensors(self.model), _tensors(model)
        moving = [pair for pair in zip(ours, theirs, strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [own for own, _ in moving], [other for _, other in moving], 1 - self.decay
        )
        for own, other in zip(ours, theirs, strict=True):
            if not own.is_floating_point():
                own.copy_(other)


def _tensors(model: DepthDecoder) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
