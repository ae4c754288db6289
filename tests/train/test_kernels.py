"""The Triton kernels against PyTorch, in Triton's interpreter: that needs no card, but `pip install triton`."""

import importlib.util
import os
import subprocess
import sys

import pytest
import spaceclip.train
import torch
from spaceclip.train import losses

_COMPARED = """
import torch
from spaceclip.train import kernels, losses

def both(loss, depth, *others):
    found = []
    for module in (None, kernels):
        leaf = depth.clone().requires_grad_()
        value = loss(module, leaf, *others)
        found.append((value.detach(), *torch.autograd.grad(3 * value, leaf)))
    return found

draw = torch.Generator().manual_seed(0)
cases = 0
for shape, share in (((2, 1, 13, 29), 0.7), ((3, 1, 7, 5), 0.3), ((2, 1, 12, 12), 0.0), ((1, 1, 1, 1), 1.0)):
    for dtype in (torch.float32, torch.bfloat16):
        depth, target, kept = (torch.rand(shape, generator=draw) for _ in range(3))
        depth, target, valid = (60 * depth - 1).clamp(min=0).to(dtype), 60 * target + 0.5, kept < share
        if share == 0.3:
            valid[1] = False
        for loss in (losses._silog, losses._ssim):
            (value, gradient), (fused, fused_gradient) = both(loss, depth, target, valid)
            assert fused.dtype == torch.float32 and fused_gradient.dtype == dtype
            assert abs(value - fused) <= 1e-5 * max(1.0, abs(value)), (loss, shape, value, fused)
            off = (gradient.float() - fused_gradient.float()).abs().max()
            tolerance = 1e-5 if dtype is torch.float32 else 1e-2
            assert off <= tolerance * gradient.abs().max(), (loss, shape, off, gradient.abs().max())
            cases += 1
assert losses._agree(kernels, torch.device("cpu"))
print(cases, "cases agree")
"""


def test_the_kernels_give_the_losses_and_gradients_of_pytorch_to_1e_5():
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed (1 GB; a dependency of PyTorch for CUDA only)")
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _COMPARED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert found.stdout.endswith("16 cases agree\n"), found.stderr[-2000:]


class _Broken:
    """Kernels that give other sums."""

    @staticmethod
    def silog_sums(*_given):
        return torch.ones(3)

    @staticmethod
    def silog_gradient(depth, *_given):
        return torch.zeros_like(depth)


@pytest.mark.parametrize("broken", [True, False], ids=["other numbers", "error"])
def test_kernels_that_cannot_be_used_are_passed_over_in_one_line(monkeypatch, caplog, broken):
    monkeypatch.setitem(sys.modules, "spaceclip.train.kernels", _Broken if broken else object())
    monkeypatch.setattr(spaceclip.train, "kernels", _Broken if broken else object(), raising=False)
    losses._tried_kernels.cache_clear()
    assert losses._tried_kernels(torch.device("cpu")) is None
    reason = "they give other numbers" if broken else "AttributeError: 'object' object has no attribute 'silog_sums'"
    assert [record.message for record in caplog.records] == [
        f"losses: PyTorch's, since Triton's kernels cannot be used ({reason})"
    ]
    losses._tried_kernels.cache_clear()
