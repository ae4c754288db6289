"""Scoring against its limit: the bare float64 logarithm of both maps, which no log metric can do without."""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from spaceclip.evaluate.boundary import boundary_regions
from spaceclip.evaluate.metrics import region_metrics

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


def make_maps(seed: int, height: int, width: int) -> Maps:
    """A prediction and a dense truth in metres: rectangles of slanted depth with noise, some of it over a threshold."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / height
    depth = 4 + y + x
    for _ in range(25):
        top, left = draw.integers(0, height), draw.integers(0, width)
        box = (slice(top, top + draw.integers(30, height // 2)), slice(left, left + draw.integers(30, width // 2)))
        depth[box] = draw.uniform(1, 9) * (1 + draw.uniform(-0.2, 0.2) * y[box])
    truth = depth * np.exp(draw.normal(0, draw.uniform(0.001, 0.007), depth.shape))
    prediction = truth * np.exp(draw.normal(0.02, 0.15, depth.shape))
    return prediction.clip(0.001, 10).astype(np.float32), truth.clip(0.001, 9.99).astype(np.float32)


def score(maps: Maps) -> dict[str, dict[str, float] | None]:
    """All metrics over the valid pixels, and over boundary and interior at each threshold."""
    prediction, truth = maps
    valid = (truth > 0.001) & (truth < 10)
    return region_metrics(prediction, truth, {"valid": valid} | boundary_regions(truth, valid))


def bare_logarithms(maps: Maps, out: NDArray[np.float64]) -> None:
    for one in maps:
        np.log(one, out=out, dtype=np.float64)


def milliseconds(work: Callable[..., object], *given: object) -> float:
    start = time.perf_counter()
    work(*given)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=int, default=654)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    given = parser.parse_args()
    scenes = [make_maps(seed, *given.size) for seed in range(given.scenes)]
    out = np.empty(given.size)
    for maps in scenes:
        found = score(maps)
        assert None not in found.values(), "a made-up scene lacks a boundary or an interior"
    pairs = []
    for index in range(given.maps):
        maps = scenes[index % len(scenes)]
        pairs.append((milliseconds(score, maps), milliseconds(bare_logarithms, maps, out)))
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"scoring / bare logarithms: {ours / bare:.1f} ({ours:.1f} against {bare:.2f} ms an image; median of "
        f"{given.maps} maps of {given.size[0]} x {given.size[1]}, ten metrics in seven regions, float64)"
    )


if __name__ == "__main__":
    main()
