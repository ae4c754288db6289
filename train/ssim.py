"""Structural similarity of depth maps, with its gradient written out.

An 11 x 11 Gaussian window (sigma 1.5) and zero padding, as in Wang et al. 2004. The window is a product of two
one-dimensional ones, and symmetric, so each filter is 2 x 6 shifted additions and is its own transpose.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_RADIUS = 5
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2


def _taps() -> list[float]:
    """Weights of the window's centre and of the pixels 1 to 5 away."""
    side = torch.exp(-(torch.arange(_RADIUS + 1, dtype=torch.float64) ** 2) / (2 * _SIGMA**2))
    return (side / (2 * side.sum() - side[0])).tolist()


_TAPS = _taps()


def gaussian_filter(maps: Tensor) -> Tensor:
    """Filter [..., H, W] with the 11 x 11 window, zeros outside."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (_RADIUS,) * 4)
    rows = padded.narrow(-2, _RADIUS, height) * _TAPS[0]
    for away, tap in enumerate(_TAPS[1:], start=1):
        above, below = padded.narrow(-2, _RADIUS - away, height), padded.narrow(-2, _RADIUS + away, height)
        rows.add_(above + below, alpha=tap)
    filtered = rows.narrow(-1, _RADIUS, width) * _TAPS[0]
    for away, tap in enumerate(_TAPS[1:], start=1):
        left, right = rows.narrow(-1, _RADIUS - away, width), rows.narrow(-1, _RADIUS + away, width)
        filtered.add_(left + right, alpha=tap)
    return filtered


def _similarity(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of weight * SSIM(x, y), and its gradient with respect to x; all [N, H, W].

    SSIM = luminance * contrast, luminance = a1 / b1 and contrast = a2 / b2, as functions of the windowed means
    of x, y, x^2 + y^2 and x y.
    """
    mean_x, mean_y, mean_squares, mean_product = gaussian_filter(torch.stack((x, y, x * x + y * y, x * y)))
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    a1, b1 = 2 * product + _C1, squares + _C1
    a2, b2 = 2 * (mean_product - product) + _C2, mean_squares - squares + _C2
    scale = weight / (b1 * b2)
    ssim = a1 * a2 * scale
    by_product = 2 * a1 * scale
    by_squares = -ssim / b2
    by_mean = 2 * (mean_y * (a2 - a1) * scale - mean_x * (ssim / b1 + by_squares))
    by_mean, by_squares, by_product = gaussian_filter(torch.stack((by_mean, by_squares, by_product)))
    return ssim.sum(), by_mean + 2 * x * by_squares + y * by_product


class _WeightedSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        # On a CPU one image at a time: its dozen maps then stay in the cache.
        step = 1 if x.device.type == "cpu" else len(x)
        parts = [_similarity(*part) for part in zip(x.split(step), y.split(step), weight.split(step), strict=True)]
        ctx.save_for_backward(torch.cat([gradient for _, gradient in parts]))
        return torch.stack([total for total, _ in parts]).sum()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *outputs: Tensor
    ) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None


def weighted_ssim(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Sum over all pixels of weight * SSIM(x, y), a scalar; differentiable in x only.

    Args:
        x: [N, H, W] in [0, 1].
        y: the same for the target.
        weight: the same; a pixel's share in the sum.
    """
    return _WeightedSimilarity.apply(x, y, weight)


def scaled_ssim(x: Tensor, y: Tensor, weight: Tensor, low: Tensor, scale: Tensor) -> Tensor:
    """`weighted_ssim` of (maps - low) * scale, clamped to [0, 1], for an offset and a factor an image, [N]."""
    x, y = (((maps - low[:, None, None]) * scale[:, None, None]).clamp(0.0, 1.0) for maps in (x, y))
    return weighted_ssim(x, y, weight)


class _FusedSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Any, x: Tensor, y: Tensor, weight: Tensor, low: Tensor, scale: Tensor) -> Tensor:
        side = [_TAPS[abs(away)] for away in range(-_RADIUS, _RADIUS + 1)]
        # Filled one by one: a copy from the host would wait, and could not be recorded as a CUDA graph.
        taps = torch.stack([x.new_full((), tap) for tap in side])
        maps = [x.contiguous(), y.contiguous()]
        total, parts = kernels.ssim_sum(*maps, weight.contiguous(), low, scale, taps, _C1, _C2)
        ctx.save_for_backward(*maps, low, scale, taps, *parts)
        ctx.kernels = kernels
        return total

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *outputs: Tensor
    ) -> tuple[None, Tensor, None, None, None, None]:
        *given, by_mean, by_squares, by_product = ctx.saved_tensors
        gradient = ctx.kernels.ssim_gradient(*given, (by_mean, by_squares, by_product), outputs[0])
        return None, gradient, None, None, None, None


def fused_ssim(kernels: Any, x: Tensor, y: Tensor, weight: Tensor, low: Tensor, scale: Tensor) -> Tensor:
    """`scaled_ssim` by the kernels of a module."""
    return _FusedSimilarity.apply(kernels, x, y, weight, low, scale)
