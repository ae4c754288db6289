# pyright: reportIndexIssue=false, reportMissingImports=false
"""The losses as Triton kernels, each one pass over the maps forward and one backward: what `losses.py` says, fused.

Sums are kept a block and added afterwards, not by atomics, so that they come out the same each time.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 256


@triton.jit
def _gap(depth, target, valid, at, inside, smallest: tl.constexpr):
    counts = (tl.load(valid + at, mask=inside, other=0) != 0) & inside
    d = tl.load(depth + at, mask=counts, other=1.0).to(tl.float32)
    t = tl.load(target + at, mask=counts, other=1.0).to(tl.float32)
    return tl.log(tl.maximum(d, smallest)) - tl.log(tl.maximum(t, smallest)), d, counts


@triton.jit
def _silog_forward(depth, target, valid, sums, size, smallest: tl.constexpr, block: tl.constexpr):
    program = tl.program_id(0)
    at = program.to(tl.int64) * block + tl.arange(0, block)
    gap, _, counts = _gap(depth, target, valid, at, at < size, smallest)
    tl.store(sums + 3 * program, tl.sum(counts.to(tl.float32), 0))
    tl.store(sums + 3 * program + 1, tl.sum(gap, 0))
    tl.store(sums + 3 * program + 2, tl.sum(gap * gap, 0))


@triton.jit
def _silog_backward(
    depth,
    target,
    valid,
    slope,
    offset,
    gradient,
    size,
    smallest: tl.constexpr,
    block: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    gap, d, counts = _gap(depth, target, valid, at, at < size, smallest)
    by_depth = (tl.load(slope) * gap + tl.load(offset)) / tl.maximum(d, smallest)
    tl.store(gradient + at, tl.where(counts & (d >= smallest), by_depth, 0.0), mask=at < size)


def silog_sums(depth: Tensor, target: Tensor, valid: Tensor, smallest: float) -> Tensor:
    """Count of the valid pixels, sum of their log gaps and of the squares of these, float32 [3]."""
    programs = triton.cdiv(depth.numel(), _BLOCK)
    sums = torch.empty(programs, 3, device=depth.device)
    with torch.cuda.device_of(depth):
        _silog_forward[(programs,)](depth, target, valid, sums, depth.numel(), smallest, _BLOCK)
    return sums.sum(0)


def silog_gradient(
    depth: Tensor, target: Tensor, valid: Tensor, slope: Tensor, offset: Tensor, smallest: float
) -> Tensor:
    """(slope * gap + offset) / depth where it counts, float32 of the shape of `depth`."""
    gradient = torch.empty(depth.shape, device=depth.device)
    grid = (triton.cdiv(depth.numel(), _BLOCK),)
    with torch.cuda.device_of(depth):
        _silog_backward[grid](depth, target, valid, slope, offset, gradient, depth.numel(), smallest, _BLOCK)
    return gradient


@triton.jit
def _scaled(maps, at, inside, low, scale):
    value = (tl.load(maps + at, mask=inside, other=0.0).to(tl.float32) - low) * scale
    return tl.where(inside, tl.minimum(tl.maximum(value, 0.0), 1.0), 0.0)


@triton.jit
def _ssim_forward(
    depth, target, weight, lows, scales, taps, sums, by_mean, by_squares, by_product,
    height, width, c1: tl.constexpr, c2: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(1).to(tl.int64)
    low, scale = tl.load(lows + image), tl.load(scales + image)
    pixel = tl.program_id(0) * block + tl.arange(0, block)
    row, column = pixel // width, pixel % width
    first = image * height * width
    mean_x = tl.zeros((block,), tl.float32)
    mean_y = tl.zeros((block,), tl.float32)
    mean_squares = tl.zeros((block,), tl.float32)
    mean_product = tl.zeros((block,), tl.float32)
    for i in range(11):
        for j in range(11):
            r, c = row + i - 5, column + j - 5
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            x = _scaled(depth, first + r * width + c, inside, low, scale)
            y = _scaled(target, first + r * width + c, inside, low, scale)
            tap = tl.load(taps + i) * tl.load(taps + j)
            mean_x += tap * x
            mean_y += tap * y
            mean_squares += tap * (x * x + y * y)
            mean_product += tap * x * y
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    a1, b1 = 2 * product + c1, squares + c1
    a2, b2 = 2 * (mean_product - product) + c2, mean_squares - squares + c2
    at, here = first + pixel, pixel < height * width
    share = tl.load(weight + at, mask=here, other=0.0) / (b1 * b2)
    ssim = a1 * a2 * share
    tl.store(sums + image * tl.num_programs(0) + tl.program_id(0), tl.sum(tl.where(here, ssim, 0.0), 0))
    squares_too = -ssim / b2
    tl.store(by_squares + at, squares_too, mask=here)
    tl.store(by_product + at, 2 * a1 * share, mask=here)
    by_x = 2 * (mean_y * (a2 - a1) * share - mean_x * (ssim / b1 + squares_too))
    tl.store(by_mean + at, by_x, mask=here)


@triton.jit
def _ssim_backward(
    depth, target, lows, scales, taps, by_mean, by_squares, by_product, factor, gradient,
    height, width, block: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(1).to(tl.int64)
    low, scale = tl.load(lows + image), tl.load(scales + image)
    pixel = tl.program_id(0) * block + tl.arange(0, block)
    row, column = pixel // width, pixel % width
    first = image * height * width
    mean = tl.zeros((block,), tl.float32)
    squares = tl.zeros((block,), tl.float32)
    product = tl.zeros((block,), tl.float32)
    for i in range(11):
        for j in range(11):
            r, c = row + i - 5, column + j - 5
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            at = first + r * width + c
            tap = tl.load(taps + i) * tl.load(taps + j)
            mean += tap * tl.load(by_mean + at, mask=inside, other=0.0)
            squares += tap * tl.load(by_squares + at, mask=inside, other=0.0)
            product += tap * tl.load(by_product + at, mask=inside, other=0.0)
    here = pixel < height * width
    value = (tl.load(depth + first + pixel, mask=here, other=0.0).to(tl.float32) - low) * scale
    x = tl.minimum(tl.maximum(value, 0.0), 1.0)
    y = _scaled(target, first + pixel, here, low, scale)
    by_x = (mean + 2 * x * squares + y * product) * tl.load(factor) * scale
    tl.store(gradient + first + pixel, tl.where((value >= 0.0) & (value <= 1.0), by_x, 0.0), mask=here)


def ssim_sum(
    depth: Tensor, target: Tensor, weight: Tensor, low: Tensor, scale: Tensor, taps: Tensor, c1: float, c2: float
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Sum of weight * SSIM of two maps, scaled by (maps - low) * scale within [0, 1], and what its gradient needs.

    Args:
        depth: [N, H, W], contiguous.
        target: The same.
        weight: The same, float32.
        low: [N] float32.
        scale: [N] float32.
        taps: [11] float32, weights of the window along a side.
        c1: The constant of luminance.
        c2: That of contrast.
    """
    images, height, width = depth.shape
    grid = (triton.cdiv(height * width, _BLOCK), images)
    sums = torch.empty(grid, device=depth.device)
    by_mean, by_squares, by_product = (torch.empty(depth.shape, device=depth.device) for _ in range(3))
    with torch.cuda.device_of(depth):
        _ssim_forward[grid](
            depth,
            target,
            weight,
            low,
            scale,
            taps,
            sums,
            by_mean,
            by_squares,
            by_product,
            height,
            width,
            c1,
            c2,
            _BLOCK,
        )
    return sums.sum(), (by_mean, by_squares, by_product)


def ssim_gradient(
    depth: Tensor,
    target: Tensor,
    low: Tensor,
    scale: Tensor,
    taps: Tensor,
    parts: tuple[Tensor, Tensor, Tensor],
    factor: Tensor,
) -> Tensor:
    """Gradient of factor * `ssim_sum` with respect to `depth`, float32 [N, H, W]."""
    images, height, width = depth.shape
    gradient = torch.empty(depth.shape, device=depth.device)
    grid = (triton.cdiv(height * width, _BLOCK), images)
    with torch.cuda.device_of(depth):
        _ssim_backward[grid](depth, target, low, scale, taps, *parts, factor, gradient, height, width, _BLOCK)
    return gradient
