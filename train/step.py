"""One training step: forward, losses, backward, clipped update; nothing in it waits for the device."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from .decoder import DepthDecoder
from .graph import GraphedStep
from .losses import DepthLoss, DepthLosses
from .precision import autocast, float32_as, resolve_precision
from .recipe import TrainSettings


@dataclass(frozen=True, slots=True)
class StepLosses(DepthLosses):
    """The losses of a step.

    Attributes:
        head_gradient: Norm of the gradient of the depth head's weights, before clipping (0-d).
    """

    head_gradient: Tensor


class TrainingStep:
    """Updates a decoder on one batch at a time.

    Args:
        decoder: On the device to train on.
        settings: The recipe.
        generator: What its dropout draws from, on its device.

    Raises:
        SpaceClipError: The device lacks the precision.
    """

    def __init__(
        self, decoder: DepthDecoder, settings: TrainSettings, generator: torch.Generator | None = None
    ) -> None:
        self.decoder, self.settings = decoder, settings
        self.parameters = list(decoder.parameters())
        self.device = self.parameters[0].device
        resolve_precision(settings.precision, self.device)
        self.loss = DepthLoss(settings.loss)
        on_card = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=on_card,
        )
        self._rate = torch.zeros((), device=self.device)
        self._buffers = joined_buffers(decoder)
        self._before = [torch.empty_like(buffer) for buffer in self._buffers]
        self._layers = decoder.settings.layers
        self._graph = GraphedStep(self._step, self._changed, generator) if on_card and settings.cuda_graph else None

    @property
    def says(self) -> str:
        """How steps are taken, once that was found out; empty where there is no choice."""
        return self._graph.says if self._graph else ""

    def __call__(
        self, states: Mapping[int, Tensor], pooled: Tensor, target: Tensor, valid: Tensor, rate: float
    ) -> StepLosses:
        """Take one step; one whose loss or gradient is not finite leaves the decoder as it was, buffers included.

        Args:
            states: Patch tokens by layer, each [B, P, C].
            pooled: [B, C].
            target: [B, 1, H, W] metres.
            valid: [B, 1, H, W], where the target counts.
            rate: Learning rate.

        Returns:
            The losses before the update; the total is NaN if there was none. All are on the device, detached, and the
            next step may overwrite them.
        """
        if self._graph:
            # A graph reads the rate from where it lies on the card.
            self._rate.fill_(rate)
        self.optimizer.param_groups[0]["lr"] = self._rate if self._graph else rate
        step = self._graph or self._step
        return StepLosses(*step(pooled, target, valid, *(states[layer] for layer in self._layers)).unbind())

    def _step(self, pooled: Tensor, target: Tensor, valid: Tensor, *tokens: Tensor) -> Tensor:
        """The step, from tensors alone; its losses, [6]."""
        states = dict(zip(self._layers, tokens, strict=True))
        for before, buffer in zip(self._before, self._buffers, strict=True):
            before.copy_(buffer)
        self.optimizer.zero_grad(set_to_none=True)
        size = -(-len(target) // self.settings.accumulate)
        losses = torch.zeros(len(fields(DepthLosses)), device=self.device)
        with float32_as(self.settings.precision, self.device):
            for at in range(0, len(target), size):
                part = slice(at, at + size)
                some = {layer: state[part] for layer, state in states.items()}
                share = len(target[part]) / len(target)
                losses += self._learn(some, pooled[part], target[part], valid[part], share)
            head = get_total_norm([weight.grad for weight in self.decoder.head.parameters() if weight.grad is not None])
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm, foreach=True)
            finite = losses[0].isfinite() & norm.isfinite()
            self._update(finite)
        # BatchNorm has already averaged the batch's statistics in; one NaN there would stay for good.
        for before, buffer in zip(self._before, self._buffers, strict=True):
            torch.where(finite, buffer, before, out=buffer)
        losses[0] = torch.where(finite, losses[0], torch.nan)
        return torch.cat([losses, head[None]])

    def _changed(self) -> list[Tensor]:
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*(weight.detach() for weight in self.parameters), *self._buffers, *moments]

    def _learn(
        self, states: Mapping[int, Tensor], pooled: Tensor, target: Tensor, valid: Tensor, share: float
    ) -> Tensor:
        """Add a micro-batch's share to the gradient; its share of the losses, [5]."""
        height, width = target.shape[-2:]
        with autocast(self.settings.precision, self.device):
            prediction = self.decoder(states, pooled, (height, width), auxiliary=self.settings.loss.stages)
        losses = self.loss(prediction, target, valid)
        (losses.total * share).backward()
        return torch.stack([getattr(losses, field.name).detach() for field in fields(losses)]) * share

    def _update(self, finite: Tensor) -> None:
        """One step of AdamW, whose kernel itself leaves all as it is where the gradient is not finite."""
        self.optimizer.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.optimizer.step()


def joined_buffers(decoder: DepthDecoder) -> list[Tensor]:
    """Lay the buffers of a decoder side by side, so that all of them are copied at once; one tensor a type."""
    owners = [
        (module, name, buffer) for module in decoder.modules() for name, buffer in module.named_buffers(recurse=False)
    ]
    joined = []
    for dtype in dict.fromkeys(buffer.dtype for _, _, buffer in owners):
        some = [owner for owner in owners if owner[2].dtype == dtype]
        whole = torch.cat([buffer.reshape(-1) for _, _, buffer in some])
        parts = whole.split([buffer.numel() for _, _, buffer in some])
        for (module, name, buffer), part in zip(some, parts, strict=True):
            setattr(module, name, part.view(buffer.shape))
        joined.append(whole)
    return joined
