"""The training losses: scale-invariant log, structural similarity, and their weighted sum.

Source: arXiv 2601.17657v2, section III. All are computed in float32, whatever precision comes in.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from .decoder import DepthPrediction
from .ssim import weighted_ssim

_SMALLEST_DEPTH = 1e-7
_SMALLEST_VARIANCE = 1e-7
_SMALLEST_RANGE = 1e-6

_Weight = Annotated[float, Field(ge=0.0)]


class LossSettings(BaseModel):
    """Weights of the loss terms; a term of weight zero is not computed.

    Attributes:
        silog: weight of the SILog loss of the depth.
        ssim: weight of the SSIM loss of the depth.
        auxiliary: weights of the SILog losses of the three auxiliary depths, coarsest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    silog: _Weight = 0.5
    ssim: _Weight = 0.5
    auxiliary: tuple[_Weight, _Weight, _Weight] = (0.10, 0.05, 0.0)

    @model_validator(mode="after")
    def _depth_is_trained(self) -> Self:
        if not self.silog + self.ssim:
            raise ValueError("silog and ssim are both 0, so nothing trains the depth; give one of them a weight")
        return self

    @property
    def stages(self) -> tuple[int, ...]:
        """Stages whose auxiliary depth has a weight."""
        return tuple(stage for stage, weight in enumerate(self.auxiliary) if weight)


@dataclass(frozen=True, slots=True)
class DepthLosses:
    """The weighted sum, which has the gradient, and the unweighted terms behind it (0-d, detached).

    Attributes:
        total: weighted sum of all terms.
        silog: SILog loss of the depth; zero if its weight is zero.
        ssim: SSIM loss of the depth; zero if its weight is zero.
        valid: Share of the pixels that are valid.
        zero: Share of the pixels that are valid and have a predicted depth of 0 m.
    """

    total: Tensor
    silog: Tensor
    ssim: Tensor
    valid: Tensor
    zero: Tensor


def silog_loss(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Scale-invariant log loss over all valid pixels of the batch together.

    10 * sqrt(mean(g^2) - 0.85 * mean(g)^2) with g = log(depth) - log(target); zero, with a zero gradient, if no
    pixel is valid. What stands at invalid pixels, NaN too, has no influence.

    Args:
        depth: [B, 1, H, W], metres.
        target: [B, 1, H, W], metres.
        valid: [B, 1, H, W], boolean.
    """
    depth = torch.where(valid, depth, 1.0).float().clamp(min=_SMALLEST_DEPTH)
    target = torch.where(valid, target, 1.0).float().clamp(min=_SMALLEST_DEPTH)
    gap = torch.log(depth) - torch.log(target)
    count = valid.sum()
    mean = gap.sum() / count.clamp(min=1)
    variance = gap.square().sum() / count.clamp(min=1) - 0.85 * mean.square()
    return 10.0 * torch.sqrt(variance.clamp(min=_SMALLEST_VARIANCE)) * (count > 0)


def ssim_loss(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean of 1 - SSIM over all valid pixels of the batch, in [0, 2].

    Both maps of an image are first brought to [0, 1] by the range of its valid target. Zero, with a zero gradient,
    if no pixel is valid. The window also sees the maps at invalid pixels, so they must hold finite numbers.

    Args:
        depth: [B, 1, H, W], metres.
        target: [B, 1, H, W], metres.
        valid: [B, 1, H, W], boolean.
    """
    depth, target = depth.float(), target.float()
    low = torch.where(valid, target, torch.inf).amin((1, 2, 3), keepdim=True)
    high = torch.where(valid, target, -torch.inf).amax((1, 2, 3), keepdim=True)
    seen = valid.any(3, keepdim=True).any(2, keepdim=True)
    low = torch.where(seen, low, 0.0)
    scale = torch.where(seen, 1.0 / (high - low).clamp(min=_SMALLEST_RANGE), 0.0)
    x, y = (((maps - low) * scale).clamp(0.0, 1.0).squeeze(1) for maps in (depth, target))
    share = valid.squeeze(1) / valid.sum().clamp(min=1)
    return share.sum() - weighted_ssim(x, y, share)


class DepthLoss:
    """The weighted sum of the losses of a prediction."""

    def __init__(self, settings: LossSettings | None = None) -> None:
        self.settings = settings or LossSettings()

    def __call__(self, prediction: DepthPrediction, target: Tensor, valid: Tensor) -> DepthLosses:
        """Weigh and add the losses of `prediction` against `target` [B, 1, H, W] (metres) where `valid`."""
        settings = self.settings
        zero = target.new_zeros((), dtype=torch.float32)
        silog = silog_loss(prediction.depth, target, valid) if settings.silog else zero
        ssim = ssim_loss(prediction.depth, target, valid) if settings.ssim else zero
        total = settings.silog * silog + settings.ssim * ssim
        for stage in settings.stages:
            total = total + settings.auxiliary[stage] * silog_loss(prediction.auxiliary[stage], target, valid)
        shares = [pixels.sum() / pixels.numel() for pixels in (valid, valid & (prediction.depth == 0))]
        return DepthLosses(total, silog.detach(), ssim.detach(), *shares)
