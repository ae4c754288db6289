"""Training from the store against its limit: the same steps on tensors already in memory on the device.

And batches against `numpy.memmap`, which gathers the same bytes from plain files.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from spaceclip.cache import Batches, DepthSpec, Entry, FeatureCache, StoreSpec, StoreWriter
from spaceclip.train import DecoderSettings, DepthDecoder, TrainSettings
from spaceclip.train.feed import Inputs, allocator, feed
from spaceclip.train.step import TrainingStep

LAYERS = (0, 1, 2, 3, 6, 9, 12)
_WARM = 6


def make_store(path: Path, count: int, size: tuple[int, int]) -> FeatureCache:
    """A store of the paper's shapes with made-up content."""
    spec = StoreSpec(
        backbone={"name": "made up"},
        preprocessing={},
        layers=LAYERS,
        views=("plain", "flipped"),
        patches=196,
        channels=768,
        image_size=(224, 224),
        depth=DepthSpec(1 / 256, size, counts="uint16"),
        entries=[Entry(str(index), None, "") for index in range(count)],
    )
    writer, draw = StoreWriter(path, spec, {}), np.random.default_rng(0)
    for shard in writer.pending:
        start, stop = spec.rows(shard)
        n = stop - start
        layer = draw.standard_normal((n, 2, 196, 768), np.float32).astype(np.float16)
        block: dict[str, np.ndarray] = {f"layers/{number}": layer for number in LAYERS}
        block["pooled"] = draw.standard_normal((n, 2, 768), np.float32)
        block["image"] = np.zeros((n, 224, 224, 3), np.uint8)
        block["depth"] = np.repeat(draw.integers(500, 20_000, (n, size[0], 1), dtype=np.uint16), size[1], axis=2)
        writer.write(shard, block)
    return FeatureCache.open(path)


def gathered(place: Path, cache: FeatureCache, batch: int, threads: int) -> Callable[[], None]:
    """An epoch of `numpy.memmap`: random rows of plain files of the same bytes, into buffers that are used in turn."""
    count, (height, width) = len(cache), cache.depth_size
    kinds: list[tuple[tuple[int, ...], type]] = [((196, 768), np.float16) for _ in (*LAYERS, *LAYERS)]
    kinds += [((768,), np.float32), ((768,), np.float32), ((height, width), np.uint16)]
    files = []
    for number, (shape, dtype) in enumerate(kinds):
        written = np.lib.format.open_memmap(place / f"{number}.npy", "w+", dtype, (count, *shape))
        written[:] = number
        files.append(np.load(place / f"{number}.npy", mmap_mode="r"))
    # Of states and pooled a sample needs one view, that of depth is the same for both.
    views = [[*files[view:-1:2], files[-1]] for view in range(2)]
    buffers = [[np.empty((batch, *file.shape[1:]), file.dtype) for file in views[0]] for _ in range(3)]
    draw = np.random.default_rng(0)

    def epoch() -> None:
        order = draw.permutation(count)[: count // batch * batch].reshape(-1, batch)
        with ThreadPoolExecutor(threads) as pool:
            for number, rows in enumerate(order):
                into, flipped = buffers[number % 3], draw.integers(0, 2, batch)

                def copy(at: int, rows=rows, into=into, flipped=flipped) -> None:
                    for file, out in zip(views[flipped[at]], into, strict=True):
                        out[at] = file[rows[at]]

                list(pool.map(copy, range(batch)))

    return epoch


def against_memmap(place: Path, cache: FeatureCache, batch: int, threads: int, repeats: int) -> None:
    """Print the rate of batches against that of `numpy.memmap`, warm, by pairs."""
    batches, bare = Batches(cache, batch, LAYERS, seed=1, threads=threads), gathered(place, cache, batch, threads)
    pairs, samples = [], len(batches) * batch
    for number in range(_WARM):  # by then nearly every chunk of both views was checked
        for _ in batches.epoch(number):
            pass
    for number in range(_WARM, _WARM + repeats):
        start = time.perf_counter()
        for _ in batches.epoch(number):
            pass
        ours = time.perf_counter() - start
        start = time.perf_counter()
        bare()
        pairs.append((ours, time.perf_counter() - start))
    ours, limit = (1000 * statistics.median(column) / samples for column in zip(*pairs, strict=True))
    print(
        f"random batches from the warm store / numpy.memmap, {threads} threads each: {limit / ours:.2f} "
        f"({ours:.2f} against {limit:.2f} ms a sample; pairs: {' '.join(f'{b / a:.2f}' for a, b in pairs)})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(352, 704))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device, settings = torch.device(given.device), TrainSettings()
    with tempfile.TemporaryDirectory() as place:
        count = max(given.batch * given.steps, 256)
        cache = make_store(Path(place) / "store.zarr", count, tuple(given.size))
        against_memmap(Path(place), cache, given.batch, given.threads, given.repeats)
        batches = Batches(cache, given.batch, LAYERS, seed=1, allocate=allocator(device), threads=given.threads)
        step = TrainingStep(DepthDecoder(DecoderSettings()).to(device).train(), settings)
        fixed = next(iter(feed(batches.epoch(0), device)))
        fixed = Inputs({n: s.clone() for n, s in fixed.states.items()}, fixed.pooled.clone(), fixed.depth.clone())

        def seconds(inputs) -> float:
            start, count = time.perf_counter(), 0
            for one in inputs:
                valid = (one.depth > settings.min_depth) & (one.depth < settings.max_depth)
                step(one.states, one.pooled, one.depth, valid, 1e-4).total.item()
                count += 1
            return (time.perf_counter() - start) / count

        seconds([fixed] * 2)
        pairs = []
        for number in range(given.repeats):
            memory = seconds([fixed] * given.steps)
            store = seconds(feed(islice(batches.epoch(number), given.steps), device))
            pairs.append((memory / store, memory, store))
        ratio, memory, store = (statistics.median(column) for column in zip(*pairs, strict=True))
        read = sum(array.nbytes for array in next(batches.epoch(0)).states.values()) / store / 1e9
        print(
            f"training from the store / from memory: {ratio:.2f} ({1000 * store:.0f} against {1000 * memory:.0f} ms a "
            f"step; {device}, batch {given.batch}, {given.size[0]} x {given.size[1]}, {read:.2f} GB/s of features)"
        )


if __name__ == "__main__":
    main()
