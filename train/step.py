"""One training step: forward, losses, backward, clipped update."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .decoder import DepthDecoder
from .losses import DepthLoss, DepthLosses
from .precision import autocast
from .recipe import TrainSettings


class TrainingStep:
    """Updates a decoder on one batch at a time.

    Args:
        decoder: On the device to train on.
        settings: The recipe.
    """

    def __init__(self, decoder: DepthDecoder, settings: TrainSettings) -> None:
        self.decoder, self.settings = decoder, settings
        self.parameters = list(decoder.parameters())
        self.device = self.parameters[0].device
        self.loss = DepthLoss(settings.loss)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def __call__(
        self, states: Mapping[int, Tensor], pooled: Tensor, target: Tensor, valid: Tensor, rate: float
    ) -> DepthLosses:
        """Take one step; a loss that is not finite leaves the decoder as it was.

        Args:
            states: Patch tokens by layer, each [B, P, C].
            pooled: [B, C].
            target: [B, 1, H, W] metres.
            valid: [B, 1, H, W], where the target counts.
            rate: Learning rate.

        Returns:
            The losses before the update.
        """
        height, width = target.shape[-2:]
        with autocast(self.settings.precision, self.device):
            prediction = self.decoder(states, pooled, (height, width))
        losses = self.loss(prediction, target, valid)
        if losses.total.isfinite():
            self.optimizer.param_groups[0]["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
            self.optimizer.step()
        return losses
