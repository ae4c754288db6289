"""Training from the store against its limit: the same steps on tensors already in memory on the device.

And batches against `numpy.memmap`, which gathers the same bytes from plain files; by blocks, against a bare read of the
disk; and the time to the first batch of a store of 100,000 samples.
"""

import argparse
import os
import re
import shutil
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from spaceclip.cache import POOLED, Batches, DepthSpec, Entry, FeatureCache, StoreSpec, StoreWriter, require_disjoint
from spaceclip.cache.format.identity import Storage
from spaceclip.train import DecoderSettings, DepthDecoder, TrainSettings
from spaceclip.train.feed import Inputs, allocator, feed
from spaceclip.train.step import TrainingStep

LAYERS = (0, 1, 2, 3, 6, 9, 12)
_WARM = 6


def make_store(
    path: Path, count: int, size: tuple[int, int], layers: Sequence[int] = LAYERS, storage: Storage = "float16"
) -> FeatureCache:
    """A store of the paper's shapes with made-up content."""
    spec = StoreSpec(
        backbone={"name": "made up"},
        preprocessing={},
        layers=tuple(layers),
        views=("plain", "flipped"),
        patches=196,
        channels=768,
        image_size=(224, 224),
        depth=DepthSpec(1 / 256, size, counts="uint16"),
        entries=[Entry(str(index), None, "") for index in range(count)],
        storage=storage,
    )
    writer, draw = StoreWriter(path, spec, {}), np.random.default_rng(0)
    for shard in writer.pending:
        start, stop = spec.rows(shard)
        n = stop - start
        layer = (50 * draw.standard_normal((n, 2, 196, 768), np.float32)).astype(storage)
        block: dict[str, np.ndarray] = {f"layers/{number}": layer for number in layers}
        if storage == "int8":
            block |= {f"scales/{number}": draw.random((n, 2, 768), np.float32) for number in layers}
        block["pooled"] = draw.standard_normal((n, 2, 768), np.float32)
        block["image"] = np.zeros((n, 224, 224, 3), np.uint8)
        block["depth"] = np.repeat(draw.integers(500, 20_000, (n, size[0], 1), dtype=np.uint16), size[1], axis=2)
        writer.write(shard, block)
    return FeatureCache.open(path)


def gathered(place: Path, cache: FeatureCache, batch: int, threads: int) -> Callable[[], None]:
    """An epoch of `numpy.memmap`: random rows of plain files of the same bytes, into buffers that are used in turn."""
    count, scaled = len(cache), cache.layers if cache.storage == "int8" else ()
    # Of states, scales and pooled a sample needs one view, that of depth is the same for both.
    kinds: list[tuple[tuple[int, ...], str]] = [((196, 768), cache.storage) for _ in cache.layers]
    kinds += [((768,), "float32") for _ in (*scaled, POOLED)]
    views = []
    for view in range(2):
        files = []
        for number, (shape, dtype) in enumerate([*kinds, (cache.depth_size, cache.depth_counts)]):
            name = place / (f"{number}-{view}.npy" if number < len(kinds) else "depth.npy")
            if not name.exists():
                np.lib.format.open_memmap(name, "w+", np.dtype(dtype), (count, *shape))[:] = number
            files.append(np.load(name, mmap_mode="r"))
        views.append(files)
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


def seconds_of(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def against_memmap(place: Path, cache: FeatureCache, batch: int, threads: int, repeats: int) -> None:
    """Print the rate of batches against that of `numpy.memmap`, warm, by pairs; and whether memory grew."""
    place.mkdir()
    batches = Batches(cache, batch, cache.layers, seed=1, threads=threads)
    bare = gathered(place, cache, batch, threads)
    samples, numbers = len(batches) * batch, count()

    def epoch() -> None:
        deque(batches.epoch(next(numbers)), maxlen=0)

    for _ in range(_WARM):  # by then nearly every chunk of both views was checked
        epoch()
    bare()
    memory = resident_bytes()
    pairs = [(seconds_of(epoch), seconds_of(bare)) for _ in range(repeats)]
    ours, limit = (1000 * statistics.median(column) / samples for column in zip(*pairs, strict=True))
    print(
        f"random batches from the warm store / numpy.memmap, {cache.storage}, {threads} threads each: "
        f"{statistics.median(b / a for a, b in pairs):.2f} ({ours:.2f} against {limit:.2f} ms a sample; pairs: "
        f"{' '.join(f'{b / a:.2f}' for a, b in pairs)}; memory of the process grew by "
        f"{(resident_bytes() - memory) / 1e6:.0f} MB in {repeats} epochs)",
        flush=True,
    )


def resident_bytes() -> int:
    """Anonymous memory of this process: mapped files are not counted."""
    return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[0])


def cold(path: Path, count: int, size: tuple[int, int], batch: int, repeats: int) -> None:
    """Print the rate of batches by blocks against that of reading the same files one after the other, past no cache."""
    layers = LAYERS[:3]
    make_store(path, count, size, layers)
    files = [file for file in sorted(path.glob("*/**/c/**/*")) if file.is_file() and "image" not in file.parts]
    files += sorted(file for file in (path / "depth").glob("c/**/*") if file.is_file() and file not in files)
    whole, piece = sum(file.stat().st_size for file in files), memoryview(bytearray(2**20))

    def forget() -> None:
        for file in files:
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def one_after_the_other() -> None:
        for file in files:
            with file.open("rb", buffering=0) as opened:
                while opened.readinto(piece):
                    pass

    pairs = []
    for number in range(repeats):
        forget()
        bare = whole / seconds_of(one_after_the_other)
        forget()
        batches = Batches(FeatureCache.open(path), batch, layers, seed=1, shuffle="blocks")
        wanted = len(batches) * batch * batches.sample_bytes
        pairs.append((wanted / seconds_of(lambda b=batches, n=number: deque(b.epoch(n), maxlen=0)), bare))
    ours, bare = (statistics.median(column) / 1e9 for column in zip(*pairs, strict=True))
    print(
        f"batches by blocks, nothing in the page cache / the same files one after the other: "
        f"{statistics.median(a / b for a, b in pairs):.2f} ({ours:.2f} against {bare:.2f} GB/s of {whole / 1e9:.1f} "
        f"GB; pairs: {' '.join(f'{a / b:.2f}' for a, b in pairs)})",
        flush=True,
    )


def first_batch(path: Path, samples: int) -> None:
    """Print how long a store of many samples takes from its path to the first batch, splits compared by picture."""
    shapes = {"layers/0": (2, 1, 2), "pooled": (2, 2), "image": (2, 2, 3), "depth": (2, 2)}
    kinds = {"layers/0": np.float16, "pooled": np.float32, "image": np.uint8, "depth": np.uint16}
    stores = {"train": samples, "val": 640}
    for name, images in stores.items():
        spec = StoreSpec(
            backbone={"name": "made up"},
            preprocessing={},
            layers=(0,),
            views=("plain", "flipped"),
            patches=1,
            channels=2,
            image_size=(2, 2),
            depth=DepthSpec(0.001, (2, 2), counts="uint16"),
            entries=[
                Entry(f"{name}{at // 100}/{at:06d}.jpg", f"{name}{at // 100}", "12345 67") for at in range(images)
            ],
        )
        writer, draw = StoreWriter(path / name, spec, {}), np.random.default_rng(images)
        for shard in writer.pending:
            start, stop = spec.rows(shard)
            drawn = {array: draw.integers(1, 256, (stop - start, *shape)) for array, shape in shapes.items()}
            writer.write(shard, {array: values.astype(kinds[array]) for array, values in drawn.items()})

    def begin() -> None:
        splits = {name: FeatureCache.open(path / name) for name in stores}
        require_disjoint(splits)
        next(Batches(splits["train"], 64, [0], seed=1).epoch(0))

    took = statistics.median(seconds_of(begin) for _ in range(3))
    print(f"from the path to the first batch of a store of {samples:,} samples: {took:.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cold", type=int, default=1024, help="images that are read past the page cache")
    parser.add_argument("--many", type=int, default=100_000, help="samples of the store that is only begun with")
    parser.add_argument("--size", type=int, nargs=2, default=(352, 704))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device, settings = torch.device(given.device), TrainSettings()
    with tempfile.TemporaryDirectory() as place:
        folder, size = Path(place), tuple(given.size)
        first_batch(folder / "many", given.many)
        cold(folder / "cold.zarr", given.cold, size, given.batch, given.repeats)
        shutil.rmtree(folder / "cold.zarr")
        images = max(given.batch * given.steps, 256)
        small = make_store(folder / "small.zarr", images, size, storage="int8")
        against_memmap(folder / "plain8", small, given.batch, given.threads, given.repeats)
        cache = make_store(folder / "store.zarr", images, size)
        against_memmap(folder / "plain16", cache, given.batch, given.threads, given.repeats)
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
