"""Four decoders of different settings trained in one run, against the sum of four runs alone.

What the four alone spend on reading three times over is what one run can save.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from bench_feed import make_store
from spaceclip.cache import FeatureCache
from spaceclip.train import CheckpointInfo, DecoderSettings, Plan, TrainSettings, fit

CHANNELS = (64, 48, 32, 16)
DECODERS = {
    "whole": DecoderSettings(channels=CHANNELS),
    "no film": DecoderSettings(channels=CHANNELS, film=False),
    "no structure": DecoderSettings(channels=CHANNELS, structural=False),
    "narrow": DecoderSettings(channels=(48, 32, 24, 16)),
}
RECIPES: dict[str, dict[str, float]] = {
    "whole": {},
    "no film": {"learning_rate": 3e-4},
    "no structure": {"ema_decay": 0.9},
    "narrow": {"weight_decay": 0.1, "max_depth": 40.0},
}


def seconds(cache: FeatureCache, names: list[str], recipe: TrainSettings, device: torch.device) -> tuple[float, float]:
    """Of a run of these decoders: in all, and waiting for batches."""
    with tempfile.TemporaryDirectory() as place:
        plans = [
            Plan(Path(place) / name, DECODERS[name], recipe.model_copy(update=RECIPES[name]), {}) for name in names
        ]
        start = time.perf_counter()
        infos: list[CheckpointInfo] = fit(cache, plans, score=None, device=device)
        whole = time.perf_counter() - start
    receipts = [info.receipt for info in infos if info.receipt]
    return whole, receipts[0].reading * receipts[0].seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device, names = torch.device(given.device), list(DECODERS)
    recipe = TrainSettings(epochs=given.epochs, batch_size=given.batch, keep="last", resident="no")
    with tempfile.TemporaryDirectory() as place:
        cache = make_store(Path(place) / "store.zarr", given.images, tuple(given.size))
        seconds(cache, names, recipe.model_copy(update={"epochs": 1}), device)
        found = []
        for _ in range(given.repeats):
            # The run of four stands between halves of those alone, since a shared machine is not always as fast.
            first = [seconds(cache, [name], recipe, device) for name in names[:2]]
            together, _ = seconds(cache, names, recipe, device)
            alone = first + [seconds(cache, [name], recipe, device) for name in names[2:]]
            whole, reading = (sum(column) for column in zip(*alone, strict=True))
            found.append((together / whole, together / (whole - reading * 3 / 4), together, whole, reading))
    ratio, net, together, whole, reading = (statistics.median(column) for column in zip(*found, strict=True))
    print(
        f"four decoders in one run: {ratio:.3f} of the sum of four runs alone, {net:.3f} of it less what one run need "
        f"not read ({together:.1f} s, {whole:.1f} s, of which {reading:.2f} s reading; {device}, batch {given.batch}, "
        f"{given.size[0]} x {given.size[1]}, median of {given.repeats})",
        flush=True,
    )


if __name__ == "__main__":
    main()
