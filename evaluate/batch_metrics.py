"""The depth metrics of whole batches in PyTorch, on the device where the maps are (method.md, "Scoring")."""

import math

import torch
from torch import Tensor
from torch.linalg import vecdot


def batch_metrics(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Score each map of a batch as `depth_metrics` scores it alone, to 1e-6; nothing waits for the device.

    In float64, or in float32 on MPS, which has no other.

    Args:
        prediction: [B, H, W] metres, positive.
        target: [B, H, W] metres, positive where valid.
        valid: bool [B, H, W]; what lies elsewhere is not looked at.

    Returns:
        [B, 11]: the number of valid pixels, then the metrics in the order of `METRICS`, which are NaN where there is no
        valid pixel, or where one is predicted NaN.
    """
    dtype = torch.float32 if prediction.device.type == "mps" else torch.float64
    valid = valid.flatten(1)
    # Where they do not count both maps are 1 m, which adds nothing to any sum of errors.
    p, g = (torch.where(valid, depth.flatten(1), 1).to(dtype) for depth in (prediction, target))
    pixels = valid.sum(1)
    error, ratio = p - g, p / g
    absolute, log_ratio = error.abs(), ratio.log()
    relative = absolute / g
    from_mean = (log_ratio - (log_ratio.sum(1) / pixels)[:, None]).mul_(valid)
    worse = torch.maximum(ratio, g / p)
    deltas = [(worse < 1.25**k).logical_and_(valid).sum(1) for k in (1, 2, 3)]
    sums = (
        relative.sum(1),
        vecdot(relative, absolute),
        absolute.sum(1),
        vecdot(error, error),
        vecdot(log_ratio, log_ratio),
        log_ratio.abs().sum(1) / math.log(10),
        vecdot(from_mean, from_mean),
        *deltas,
    )
    abs_rel, sq_rel, mae, square, log_square, log10, variance, *shares = torch.stack(sums) / pixels
    roots = (square.sqrt(), log_square.sqrt(), log10, 100 * variance.sqrt())
    return torch.stack((pixels, abs_rel, sq_rel, mae, *roots, *shares), 1)
