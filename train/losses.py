"""The training losses: scale-invariant log, structural similarity, and their weighted sum.

Source: arXiv 2601.17657v2, section III. All are computed in float32, whatever precision comes in.
"""

import logging
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.autograd.function import once_differentiable

from .decoder import DepthPrediction
from .ssim import fused_ssim, scaled_ssim

_LOG = logging.getLogger(__name__)

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
    return _silog(_kernels(depth), depth, target, valid)


def _silog(kernels: Any, depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    return _SILog.apply(kernels, depth, target, valid)


class _SILog(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Any, depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        if kernels:
            maps = [depth.contiguous(), target.contiguous(), valid.contiguous()]
            count, total, squares = kernels.silog_sums(*maps, _SMALLEST_DEPTH).unbind()
        else:
            maps = [depth, *_log_gap(depth, target, valid), valid]
            gap = maps[2].flatten(1)
            # Image by image: a processor's dot product of many millions is right to four digits alone.
            squares = torch.stack([image.dot(image) for image in gap]).sum()
            count, total = valid.sum(), gap.sum()
        mean = total / count.clamp(min=1)
        variance = squares / count.clamp(min=1) - 0.85 * mean.square()
        root = variance.clamp(min=_SMALLEST_VARIANCE).sqrt()
        some = count > 0
        # d/d gap: 10 / (2 root) * (2 gap - 2 * 0.85 mean) / count
        slope = 10.0 / (root * count.clamp(min=1)) * (some & (variance >= _SMALLEST_VARIANCE))
        ctx.save_for_backward(*maps, slope, -0.85 * mean * slope)
        ctx.kernels = kernels
        return 10.0 * root * some

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *outputs: Tensor
    ) -> tuple[None, Tensor, None, None]:
        *maps, slope, offset = ctx.saved_tensors
        slope, offset = slope * outputs[0], offset * outputs[0]
        if ctx.kernels:
            gradient = ctx.kernels.silog_gradient(*maps, slope, offset, _SMALLEST_DEPTH)
            return None, gradient.to(maps[0].dtype), None, None
        depth, clamped, gap, valid = maps
        gradient = gap.mul(slope).add_(offset).div_(clamped).mul_(valid & (depth >= _SMALLEST_DEPTH))
        return None, gradient.to(depth.dtype), None, None


def _log_gap(depth: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The depth that counts, 1 where none does, and log(depth) - log(target), 0 there."""
    depth = torch.where(valid, depth, 1.0).float().clamp_(min=_SMALLEST_DEPTH)
    target = torch.where(valid, target, 1.0).float().clamp_(min=_SMALLEST_DEPTH)
    return depth, depth.log().sub_(target.log_())


def ssim_loss(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean of 1 - SSIM over all valid pixels of the batch, in [0, 2].

    Both maps of an image are first brought to [0, 1] by the range of its valid target. Zero, with a zero gradient,
    if no pixel is valid. The window also sees the maps at invalid pixels, so they must hold finite numbers.

    Args:
        depth: [B, 1, H, W], metres.
        target: [B, 1, H, W], metres.
        valid: [B, 1, H, W], boolean.
    """
    return _ssim(_kernels(depth), depth, target, valid)


def _ssim(kernels: Any, depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    depth, target = depth.float(), target.float()
    low = torch.where(valid, target, torch.inf).amin((1, 2, 3), keepdim=True)
    high = torch.where(valid, target, -torch.inf).amax((1, 2, 3), keepdim=True)
    seen = valid.any(3, keepdim=True).any(2, keepdim=True)
    low = torch.where(seen, low, 0.0)
    scale = torch.where(seen, 1.0 / (high - low).clamp(min=_SMALLEST_RANGE), 0.0)
    share = valid.squeeze(1) / valid.sum().clamp(min=1)
    similarity = partial(fused_ssim, kernels) if kernels else scaled_ssim
    return share.sum() - similarity(depth.squeeze(1), target.squeeze(1), share, low.flatten(), scale.flatten())


def _kernels(depth: Tensor) -> Any:
    """The module of fused kernels, on CUDA where Triton is; None elsewhere."""
    return _tried_kernels(depth.device) if depth.is_cuda else None


@cache
def _tried_kernels(device: torch.device) -> Any:
    """The fused kernels if they give PyTorch's losses on this device; Triton also needs a C compiler, for one."""
    try:
        from . import kernels
    except ImportError:
        return None
    try:
        reason = "they give other numbers" if not _agree(kernels, device) else ""
    except Exception as error:  # whatever a driver or version makes of it: PyTorch's losses are there
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if not reason:
        return kernels
    _LOG.warning("losses: PyTorch's, since Triton's kernels cannot be used (%s)", reason)
    return None


def _agree(kernels: Any, device: torch.device) -> bool:
    """Whether the kernels give PyTorch's losses and gradients, to 1e-4 of the largest, on a made-up map."""
    pixels = torch.arange(2 * 40 * 56, device=device).view(2, 1, 40, 56)
    target, valid = 2 + (pixels * 0.37).sin(), pixels % 3 > 0
    for loss in (_silog, _ssim):
        found = []
        for way in (None, kernels):
            with torch.enable_grad():
                depth = (2 + (pixels * 0.11).cos()).requires_grad_()
                value = loss(way, depth, target, valid)
                found.append((value.detach(), *torch.autograd.grad(value, depth)))
        for one, other in zip(*found, strict=True):
            if not bool((one - other).abs().max() <= 1e-4 * one.abs().max()):
                return False
    return True


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
