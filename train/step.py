"""One training step: forward, losses, backward, clipped update."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .decoder import DepthDecoder
from .losses import DepthLoss, DepthLosses
from .precision import autocast, ieee_float32
from .recipe import TrainSettings


class TrainingStep:
    """Updates a decoder on one batch at a time.

    Args:
        decoder: On the device to train on.
        settings: The recipe.
    """

    def __init__(self, decoder: DepthDecoder, settings: TrainSettings) -> None:
        self.decoder, self.settings = decoder, settings
        self.parameters, self.buffers = list(decoder.parameters()), list(decoder.buffers())
        self.device = self.parameters[0].device
        self.loss = DepthLoss(settings.loss)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    @ieee_float32()
    def __call__(
        self, states: Mapping[int, Tensor], pooled: Tensor, target: Tensor, valid: Tensor, rate: float
    ) -> DepthLosses:
        """Take one step; one whose loss or gradient is not finite leaves the decoder as it was, buffers included.

        Args:
            states: Patch tokens by layer, each [B, P, C].
            pooled: [B, C].
            target: [B, 1, H, W] metres.
            valid: [B, 1, H, W], where the target counts.
            rate: Learning rate.

        Returns:
            The losses before the update; the total is NaN if there was none.
        """
        before = [buffer.clone() for buffer in self.buffers]
        height, width = target.shape[-2:]
        with autocast(self.settings.precision, self.device):
            prediction = self.decoder(states, pooled, (height, width))
        losses = self.loss(prediction, target, valid)
        if self._update(losses.total, rate):
            return losses
        # BatchNorm has already averaged the batch's statistics in; one NaN there would stay for good.
        for buffer, value in zip(self.buffers, before, strict=True):
            buffer.copy_(value)
        return replace(losses, total=torch.full_like(losses.total, torch.nan))

    def _update(self, total: Tensor, rate: float) -> bool:
        if not total.isfinite():
            return False
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if not torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm).isfinite():
            return False
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        return True
