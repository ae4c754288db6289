"""What the small CLIP is trained for: contrast, names of regions, masked prediction. None of them takes a depth map."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .model import GRID, PATCH

_HIGHEST_SCALE = 100.0  # as CLIP


def contrast(pictures: Tensor, texts: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's symmetric cross-entropy over a batch of pairs.

    Args:
        pictures: Unit vectors [B, D].
        texts: Unit vectors [B, D] of their captions.
        log_scale: Logarithm of the inverse temperature.

    Returns:
        The loss, and the share of pictures whose own caption is the nearest.
    """
    logits = log_scale.float().exp().clamp(max=_HIGHEST_SCALE) * pictures @ texts.T
    own = torch.arange(len(logits))
    loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    return loss, (logits.argmax(1) == own).float().mean()


def region_names(patches: Tensor, names: Tensor, cells: Tensor, log_scale: Tensor) -> Tensor:
    """Cross-entropy of each patch against the names of all regions in the batch, weighted by their share of it.

    Args:
        patches: Unit vectors [B, V, D].
        names: Unit vectors [K, D].
        cells: [B, V, 16] numbers of the names that a patch's cells show, 0 to K - 1.
        log_scale: Logarithm of the inverse temperature.
    """
    logits = log_scale.float().exp().clamp(max=_HIGHEST_SCALE) * patches.flatten(0, 1) @ names.T
    return -F.log_softmax(logits, 1).gather(1, cells.flatten(0, 1)).mean()


def reconstruction(predicted: Tensor, pixels: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of hidden patches' pixels, each patch brought to mean 0 and deviation 1 (He et al. 2022).

    Args:
        predicted: [B, W, 768].
        pixels: Whole pictures [B, 3, 224, 224].
        wanted: [B, W] numbers of the hidden patches.
    """
    patches = F.pixel_unshuffle(pixels, PATCH).flatten(2).mT  # [B, 196, 768]
    target = patches.gather(1, wanted[..., None].expand(-1, -1, patches.shape[2]))
    target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    return (predicted.float() - target).square().mean()


def by_patch(regions: Tensor) -> Tensor:
    """Maps of regions [B, 56, 56] as the cells of each patch [B, 196, 16]."""
    side = regions.shape[1] // GRID
    return regions.unflatten(2, (GRID, side)).unflatten(1, (GRID, side)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
