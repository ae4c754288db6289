"""Validation against its limit: the bare forward passes of the decoders, on features already in memory on the device.

For raw and EMA weights of one decoder, and of four decoders that are trained together.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from bench_feed import LAYERS, make_store
from spaceclip.evaluate import Protocol, validate
from spaceclip.train import DepthDecoder, Inputs, autocast

PROTOCOL = Protocol(
    name="validation", crop="none", min_depth=0.001, max_depth=80.0, flip_average=False, median_scaling=False
)


def forward_seconds(decoder: DepthDecoder, inputs: Inputs, precision: str) -> float:
    """Seconds an image of one forward pass to the size of the ground truth."""
    device, size = inputs.pooled.device, (inputs.depth.shape[-2], inputs.depth.shape[-1])
    start = time.perf_counter()
    with torch.inference_mode(), autocast(precision, device):
        decoder(inputs.states, inputs.pooled, size)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / len(inputs.pooled)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device, size = torch.device(given.device), tuple(given.size)
    decoder = DepthDecoder().to(device).eval()
    fixed = Inputs(
        {layer: torch.randn(given.batch, 196, 768).half().to(device) for layer in LAYERS},
        torch.randn(given.batch, 768).to(device),
        torch.zeros(given.batch, 1, *size),
    )
    with tempfile.TemporaryDirectory() as place:
        cache = make_store(Path(place) / "store.zarr", given.images, size)

        def seconds(count: int) -> float:
            start = time.perf_counter()
            found = validate([(decoder, PROTOCOL, given.precision)] * count, cache, batch_size=given.batch)
            assert not any(isinstance(metrics, Exception) for metrics in found)
            return (time.perf_counter() - start) / given.images

        seconds(2)
        forward_seconds(decoder, fixed, given.precision)
        for count, name in ((2, "raw and EMA of one decoder"), (8, "raw and EMA of four decoders")):
            found = []
            for _ in range(given.repeats):
                # Bare passes before and after, since a shared machine is not always as fast.
                before = forward_seconds(decoder, fixed, given.precision)
                whole = seconds(count)
                bare = (before + forward_seconds(decoder, fixed, given.precision)) / 2
                found.append((whole / bare, whole, bare))
            passes, whole, bare = (statistics.median(column) for column in zip(*found, strict=True))
            print(
                f"validation of {name}: {passes:.2f} forward passes an image ({1000 * whole:.1f} ms, one pass "
                f"{1000 * bare:.1f} ms; {device}, {given.precision}, batch {given.batch}, {size[0]} x {size[1]})",
                flush=True,
            )


if __name__ == "__main__":
    main()
