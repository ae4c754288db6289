"""Probing all 13 states of 100,000 patch tokens of a ViT-B/16: wall and processor time of each stage."""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from spaceclip.cache import DepthSpec, Entry, FeatureCache, StoreSpec, StoreWriter
from spaceclip.evaluate import probe_layers

PATCHES, CHANNELS, SIZE = 196, 768, (224, 224)


def write(path: Path, images: int, layers: int) -> FeatureCache:
    """A store of random tokens that hold a little of the depth."""
    entries = [Entry(f"{path.stem}{n // 8}/{n}", f"{path.stem}{n // 8}", "1") for n in range(images)]
    identity = {"name": "random:bench", "revision": "none", "weights": "none", "precision": "float32"}
    spec = StoreSpec(
        identity, {"size": SIZE}, tuple(range(layers)), ("plain",), PATCHES, CHANNELS, SIZE,
        DepthSpec(0.001, SIZE), entries, 32,
    )  # fmt: skip
    writer, draw = StoreWriter(path, spec, {"split": path.stem, "data": "bench"}), np.random.default_rng(0)
    for shard in writer.pending:
        n = len(range(*spec.rows(shard)))
        depth = draw.uniform(1, 9, (n, 14, 14))
        tokens = draw.standard_normal((n, 1, PATCHES, CHANNELS), np.float32)
        tokens[:, 0] += np.log(depth).reshape(n, PATCHES, 1)
        block: dict[str, Any] = {f"layers/{layer}": tokens.astype(np.float16) for layer in spec.layers}
        block["pooled"] = np.zeros((n, 1, CHANNELS), np.float32)
        block["image"] = np.zeros((n, *SIZE, 3), np.uint8)
        block["depth"] = (depth.repeat(16, 1).repeat(16, 2) * 1000).astype(np.uint32)
        writer.write(shard, block)
    return FeatureCache.open(path)


@contextmanager
def timed(label: str, _unit: str = "") -> Iterator:
    wall, cpu = time.perf_counter(), time.process_time()
    yield lambda _done, _total: None
    print(
        f"{label}: {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} s of processor time", flush=True
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512, help="of the train split; an eighth of that is scored")
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--pairs", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training = write(Path(folder) / "train", chosen.images, chosen.layers)
        held_out = write(Path(folder) / "val", chosen.images // 8, chosen.layers)
        with timed("in all"):
            probe_layers(training, held_out, pairs=chosen.pairs, progress=timed)
