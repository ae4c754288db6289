"""Our training step against what the paper says written down as it is: plain float32, contiguous tensors, each layer by
itself, losses by autograd, an 11 x 11 window for SSIM.

Both keep freed memory, as `spaceclip train` does: what that brings is not in the ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from spaceclip.cache import keep_freed_memory
from spaceclip.train import DecoderSettings, DepthDecoder, DepthPrediction, TrainSettings, silog_loss, ssim_loss
from spaceclip.train.blocks import Dropout, Gate, StructuralBlock, Upsample, resize
from spaceclip.train.precision import autocast, resolve_precision
from spaceclip.train.step import TrainingStep
from torch import Tensor

SETTINGS = TrainSettings()
WEIGHTS = SETTINGS.loss
RATE = 1e-4
PRECISION = SETTINGS.precision


@dataclass
class MadeUp:
    """One batch of the paper's shapes: random tokens, smooth depth in metres, a third of it measured."""

    states: dict[int, Tensor]
    pooled: Tensor
    target: Tensor
    valid: Tensor


def make_batch(batch: int, size: tuple[int, int], device: torch.device, seed: int = 0) -> MadeUp:
    draw = torch.Generator().manual_seed(seed)
    states = {n: torch.randn(batch, 196, 768, generator=draw).half().to(device) for n in DecoderSettings().layers}
    coarse = 2 + 60 * torch.rand(batch, 1, 8, 8, generator=draw)
    target = F.interpolate(coarse, size=size, mode="bilinear").to(device)
    valid = (torch.rand(batch, 1, *size, generator=draw) < 1 / 3).to(device)
    return MadeUp(states, torch.randn(batch, 768, generator=draw).to(device), target, valid)


def plain_ssim_loss(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """The SSIM loss as one would first write it down; every image has valid pixels."""
    low = torch.where(valid, target, torch.inf).amin((2, 3), keepdim=True)
    high = torch.where(valid, target, -torch.inf).amax((2, 3), keepdim=True)
    x, y = (((maps - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) for maps in (depth, target))
    line = torch.exp(-((torch.arange(11, device=depth.device) - 5.0) ** 2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]

    def mean(maps: Tensor) -> Tensor:
        return F.conv2d(maps, window, padding=5)

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    below = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
    return (1 - above / below)[valid].mean()


def plain_silog_loss(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """The SILog loss likewise; there are valid pixels."""
    depth, target = (torch.where(valid, maps, 1.0).clamp(min=1e-7) for maps in (depth, target))
    gap, count = torch.log(depth) - torch.log(target), valid.sum()
    variance = gap.square().sum() / count - 0.85 * (gap.sum() / count).square()
    return 10.0 * torch.sqrt(variance.clamp(min=1e-7))


def write_out(decoder: DepthDecoder) -> None:
    """Let each block compute as it is written in the paper, without short cuts."""
    for module in decoder.modules():
        block: Any = module
        match module:
            case Upsample():
                block.forward = lambda x, m=block: m.refine(m.expand(x))
            case StructuralBlock():
                block.forward = lambda x, skip, m=block: m.fuse(_joined(m.upsample(x), skip))
            case Gate():
                block.forward = lambda x, skip, m=block: resize(skip, x.shape[-2:]) * (1 + torch.sigmoid(m.weigh(x)))
            case Dropout():
                block.forward = lambda x, m=block: F.dropout(x, m.share, m.training)
            case torch.nn.Conv2d() | torch.nn.ConvTranspose2d():
                module.register_forward_pre_hook(lambda _module, given: (given[0].contiguous(),))


def _joined(features: Tensor, skip: Tensor) -> Tensor:
    return torch.cat((features, resize(skip, (features.shape[-2], features.shape[-1]))), dim=1)


class Plain:
    """A step with nothing done for speed."""

    ssim, silog = staticmethod(plain_ssim_loss), staticmethod(plain_silog_loss)

    def __init__(self, decoder: DepthDecoder) -> None:
        self.decoder = decoder.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        write_out(decoder)
        self.optimizer = torch.optim.AdamW(decoder.parameters(), lr=RATE, weight_decay=SETTINGS.weight_decay)

    def forward(self, batch: MadeUp) -> DepthPrediction:
        return self.decoder(batch.states, batch.pooled, tuple(batch.target.shape[-2:]))

    def optimise(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), SETTINGS.clip_norm)
        self.optimizer.step()

    def __call__(self, batch: MadeUp) -> float:
        prediction = self.forward(batch)
        total = WEIGHTS.ssim * self.ssim(prediction.depth, batch.target, batch.valid)
        total = total + silog_terms(self.silog, prediction, batch)
        self.optimizer.zero_grad()
        total.backward()
        self.optimise()
        return total.item()


class Ours(Plain):
    """The step that the training run takes."""

    ssim, silog = staticmethod(ssim_loss), staticmethod(silog_loss)

    def __init__(self, decoder: DepthDecoder) -> None:
        settings = SETTINGS.model_copy(update={"precision": PRECISION})
        self.decoder, self.step = decoder, TrainingStep(decoder, settings)
        self.optimizer = self.step.optimizer

    def forward(self, batch: MadeUp) -> DepthPrediction:
        with autocast(PRECISION, batch.pooled.device):
            return super().forward(batch)

    def __call__(self, batch: MadeUp) -> float:
        return self.step(batch.states, batch.pooled, batch.target, batch.valid, RATE).total.item()


def silog_terms(silog: Callable[..., Tensor], prediction: DepthPrediction, batch: MadeUp) -> Tensor:
    pairs = zip((WEIGHTS.silog, *WEIGHTS.auxiliary), (prediction.depth, *prediction.auxiliary.values()), strict=True)
    return torch.stack([w * silog(depth, batch.target, batch.valid) for w, depth in pairs if w]).sum()


def clock(work: Callable[[], object], device: torch.device) -> tuple[float, object]:
    """Milliseconds that `work` took, and what it returned."""
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start), result


def time_parts(step: Plain, batch: MadeUp) -> dict[str, float]:
    """Milliseconds of each part of a step, one after the other."""
    device = batch.pooled.device
    times = {}
    times["decoder forward"], prediction = clock(lambda: step.forward(batch), device)
    assert isinstance(prediction, DepthPrediction)
    depths = [depth.detach().requires_grad_() for depth in (prediction.depth, *prediction.auxiliary.values())]
    leaves = replace(prediction, depth=depths[0], auxiliary=dict(enumerate(depths[1:])))

    def ssim() -> None:
        (WEIGHTS.ssim * step.ssim(leaves.depth, batch.target, batch.valid)).backward()

    times["SSIM, both ways"], _ = clock(ssim, device)
    times["SILog, both ways"], _ = clock(lambda: silog_terms(step.silog, leaves, batch).backward(), device)
    pairs = [(d, leaf) for d, leaf in zip((prediction.depth, *prediction.auxiliary.values()), depths, strict=True)]
    outputs, gradients = zip(*((d, leaf.grad) for d, leaf in pairs if leaf.grad is not None), strict=True)
    step.optimizer.zero_grad()
    times["decoder backward"], _ = clock(lambda: torch.autograd.backward(outputs, gradients), device)
    times["clip and optimiser"], _ = clock(step.optimise, device)
    return times


def fresh(device: torch.device, dropout: float, nudge: float = 0.0) -> DepthDecoder:
    """A decoder with always the same initial weights, each moved by about `nudge` of itself."""
    torch.manual_seed(0)
    decoder = DepthDecoder(DecoderSettings(dropout=dropout))
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(1 + nudge * torch.randn_like(weight))
    return decoder.to(device).train()


def compare_speed(device: torch.device, batch: MadeUp, repeats: int) -> None:
    plain, ours = Plain(fresh(device, dropout=0.1)), Ours(fresh(device, dropout=0.1))
    for step in (plain, ours, plain, ours):
        step(batch)
    whole = [(clock(lambda: plain(batch), device)[0], clock(lambda: ours(batch), device)[0]) for _ in range(repeats)]
    parts = [(time_parts(plain, batch), time_parts(ours, batch)) for _ in range(repeats)]
    count = len(batch.pooled)
    print(f"{'ms an image':20} {'plain':>8} {'ours':>8} {'ratio':>6}")
    for name in parts[0][0]:
        slow, fast = (statistics.median(pair[side][name] for pair in parts) / count for side in (0, 1))
        print(f"{name:20} {slow:8.2f} {fast:8.2f} {slow / fast:6.2f}")
    slow, fast = (statistics.median(pair[side] for pair in whole) / count for side in (0, 1))
    ratio = statistics.median(slow / fast for slow, fast in whole)
    print(f"{'whole step':20} {slow:8.2f} {fast:8.2f} {ratio:6.2f}")
    shape = f"batch {count}, {batch.target.shape[-2]} x {batch.target.shape[-1]}"
    precision = str(resolve_precision(PRECISION, device)).removeprefix("torch.")
    print(f"training step, ours against plain: {ratio:.2f} times as fast ({device}, {precision}, {shape})")


def compare_curves(device: torch.device, batch: int, size: tuple[int, int], steps: int) -> None:
    """Train on four fixed batches in turn; without dropout, so that only the arithmetic differs.

    Early steps of Adam magnify any rounding. How much, a plain run shows whose first weights are a millionth off.
    """
    runs = {
        "plain": Plain(fresh(device, dropout=0.0)),
        "nudged": Plain(fresh(device, dropout=0.0, nudge=1e-6)),
        "ours": Ours(fresh(device, dropout=0.0)),
    }
    batches = [make_batch(batch, size, device, seed) for seed in range(4)]
    curves = {name: [] for name in runs}
    print("step", *(f"{name:>9}" for name in runs))
    for number in range(steps):
        for name, step in runs.items():
            curves[name].append(step(batches[number % len(batches)]))
        print(f"{number:4}", *(f"{curve[-1]:9.4f}" for curve in curves.values()))
    for name, curve in curves.items():
        worst = max(abs(found / wanted - 1) for found, wanted in zip(curve, curves["plain"], strict=True))
        print(f"{name}: mean of the last ten {statistics.mean(curve[-10:]):.4f}, largest difference {worst:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(352, 704))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default=PRECISION, help="of our step")
    parser.add_argument("--curves", action="store_true", help="compare 40 steps' losses instead of the speed")
    # `run.py` starts this beside benchmarks that have options of their own.
    given, _ = parser.parse_known_args()
    globals()["PRECISION"] = given.precision
    keep_freed_memory()
    device, size = torch.device(given.device), tuple(given.size)
    if given.curves:
        compare_curves(device, given.batch, size, steps=40)
    else:
        compare_speed(device, make_batch(given.batch, size, device), given.repeats)


if __name__ == "__main__":
    main()
