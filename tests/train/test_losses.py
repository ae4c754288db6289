from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.train import DepthPrediction, LossSettings, silog_loss, ssim_loss
from spaceclip.train.losses import DepthLoss
from spaceclip.train.ssim import weighted_ssim

DATA = Path(__file__).parents[1] / "data"
LOSSES = {"silog": silog_loss, "ssim": ssim_loss}


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "losses.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def maps(batch, height, width, seed, share=0.7):
    draw = torch.Generator().manual_seed(seed)
    depth, target, kept = (torch.rand(batch, 1, height, width, generator=draw) for _ in range(3))
    return 60 * depth + 0.5, 60 * target + 0.5, kept < share


def value_and_gradient(loss, depth, *others):
    depth = depth.clone().requires_grad_()
    value = loss(depth, *others)
    return value.detach(), torch.autograd.grad(value, depth)[0]


def plain_ssim(x, y, weight):
    """SSIM by a full 11 x 11 window, one pixel sum at a time, in float64."""
    line = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    x, y = x.double()[:, None], y.double()[:, None]

    def mean(m):
        return F.conv2d(m, window, padding=5)

    xx, yy, xy = mean(x * x) - mean(x) ** 2, mean(y * y) - mean(y) ** 2, mean(x * y) - mean(x) * mean(y)
    above = (2 * mean(x) * mean(y) + 0.01**2) * (2 * xy + 0.03**2)
    below = (mean(x) ** 2 + mean(y) ** 2 + 0.01**2) * (xx + yy + 0.03**2)
    return ((above / below)[:, 0] * weight.double()).sum()


def plain_silog(depth, target, valid):
    gap = torch.log(depth.double()[valid]) - torch.log(target.double()[valid])
    return 10 * torch.sqrt((gap**2).mean() - 0.85 * gap.mean() ** 2)


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_the_release(golden, name):
    value, gradient = value_and_gradient(LOSSES[name], golden["pred"], golden["gt"], golden["mask"])
    assert value.item() == pytest.approx(golden[name].item(), rel=1e-5)
    wanted = golden[f"{name}_grad"]
    assert (gradient - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**31))
def test_ssim_and_its_gradient_agree_with_a_plain_window(batch, height, width, seed):
    draw = torch.Generator().manual_seed(seed)
    x, y, weight = (torch.rand(batch, height, width, generator=draw, dtype=torch.float64) for _ in range(3))
    value, gradient = value_and_gradient(weighted_ssim, x, y, weight)
    wanted, wanted_gradient = value_and_gradient(plain_ssim, x, y, weight)
    torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-7, atol=1e-9)


def test_ssim_gradient_agrees_with_finite_differences():
    draw = torch.Generator().manual_seed(3)
    x, y, weight = (torch.rand(2, 7, 9, generator=draw, dtype=torch.float64) for _ in range(3))
    assert torch.autograd.gradcheck(lambda x: weighted_ssim(x, y, weight), (x.requires_grad_(),))


def test_ssim_holds_in_float32_at_the_training_size():
    draw = torch.Generator().manual_seed(4)
    smooth = F.interpolate(torch.rand(2, 2, 11, 22, generator=draw), size=(352, 704), mode="bilinear")
    weight = torch.full((2, 352, 704), 1 / (2 * 352 * 704))
    value, gradient = value_and_gradient(weighted_ssim, smooth[:, 0], smooth[:, 1], weight)
    wanted, wanted_gradient = value_and_gradient(plain_ssim, smooth[:, 0].double(), smooth[:, 1], weight)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert (gradient - wanted_gradient).abs().max() <= 1e-4 * wanted_gradient.abs().max()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(2, 20), st.integers(2, 20), st.integers(0, 2**31))
def test_silog_and_its_gradient_agree_with_a_plain_recomputation(batch, height, width, seed):
    depth, target, valid = maps(batch, height, width, seed)
    valid[0, 0, 0, :2] = True
    value, gradient = value_and_gradient(silog_loss, depth, target, valid)
    wanted, wanted_gradient = value_and_gradient(plain_silog, depth.double(), target, valid)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-3, abs=1e-3)
    torch.testing.assert_close(gradient.double(), wanted_gradient, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_no_valid_pixel_means_zero_and_a_zero_gradient(loss):
    depth, target, valid = maps(2, 12, 16, seed=5)
    value, gradient = value_and_gradient(loss, depth, target, torch.zeros_like(valid))
    assert value.item() == 0.0
    assert torch.equal(gradient, torch.zeros_like(depth))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_an_image_without_valid_pixels_has_no_influence(loss):
    depth, target, valid = maps(2, 12, 16, seed=6)
    valid[1] = False
    value, gradient = value_and_gradient(loss, depth, target, valid)
    alone, alone_gradient = value_and_gradient(loss, depth[:1], target[:1], valid[:1])
    torch.testing.assert_close(value, alone)
    torch.testing.assert_close(gradient[:1], alone_gradient)
    assert not gradient[1].any()


def test_silog_of_a_large_batch_loses_nothing():
    """Some processors' dot products add up one number after the other."""
    draw = torch.Generator().manual_seed(0)
    target = 2 + 6 * torch.rand(24, 1, 480, 640, generator=draw)
    depth, valid = target * (0.05 * torch.randn(target.shape, generator=draw)).exp_(), torch.rand(target.shape) > 0.1
    gap = (depth.double().log_() - target.double().log_())[valid]
    wanted = 10 * (gap.square().mean() - 0.85 * gap.mean() ** 2).sqrt()
    assert silog_loss(depth, target, valid).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_silog_ignores_whatever_stands_at_invalid_pixels():
    depth, target, valid = maps(2, 12, 16, seed=7)
    value, gradient = value_and_gradient(silog_loss, depth, target, valid)
    spoilt = torch.where(valid, target, torch.nan)
    zeroed = torch.where(valid, depth, 0.0)
    found, found_gradient = value_and_gradient(silog_loss, zeroed, spoilt, valid)
    assert torch.equal(found, value)
    assert torch.equal(found_gradient, gradient)


def test_a_perfect_depth_costs_next_to_nothing():
    depth, _, valid = maps(2, 20, 20, seed=8)
    assert silog_loss(depth, depth, valid).item() == pytest.approx(10 * 1e-7**0.5)
    assert ssim_loss(depth, depth, valid).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_float32_whatever_comes_in(loss, dtype):
    depth, target, valid = maps(2, 16, 16, seed=9)
    depth = depth.to(dtype)
    value, gradient = value_and_gradient(loss, depth, target, valid)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.equal(value, loss(depth.float(), target, valid))


def test_total_weighs_the_terms_as_the_paper_does():
    depth, target, valid = maps(2, 16, 16, seed=10)
    auxiliary = tuple(depth * factor + 1 for factor in (0.5, 0.7, 0.9))
    losses = DepthLoss()(DepthPrediction(depth, dict(enumerate(auxiliary))), target, valid)
    silog, ssim = silog_loss(depth, target, valid), ssim_loss(depth, target, valid)
    coarse = [silog_loss(map_, target, valid) for map_ in auxiliary]
    torch.testing.assert_close(losses.total, 0.5 * silog + 0.5 * ssim + 0.10 * coarse[0] + 0.05 * coarse[1])
    assert torch.equal(losses.silog, silog)
    assert torch.equal(losses.ssim, ssim)


def test_terms_of_weight_zero_are_not_computed():
    depth, target, valid = maps(1, 8, 8, seed=11)
    broken = torch.full_like(depth, torch.nan)
    loss = DepthLoss(LossSettings(ssim=0.0, auxiliary=(0.0, 0.0, 0.0)))
    losses = loss(DepthPrediction(depth, dict.fromkeys(range(3), broken)), target, valid)
    assert torch.equal(losses.total, 0.5 * silog_loss(depth, target, valid))
    assert losses.ssim.item() == 0.0
