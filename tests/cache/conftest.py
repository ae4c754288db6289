"""A small store of made-up features."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spaceclip.cache import DepthSpec, Entry, StoreSpec, StoreWriter

LAYERS, PATCHES, CHANNELS, SIZE = (0, 3), 4, 6, (5, 7)


def spec_of(count: int = 10, shard: int = 4, **changes: Any) -> StoreSpec:
    fields: dict[str, Any] = {
        "backbone": {"name": "tiny", "revision": "abc", "weights": "123", "precision": "float32"},
        "preprocessing": {"target_size": SIZE, "mean": (0.5, 0.5, 0.5)},
        "layers": LAYERS,
        "views": ("plain", "flipped"),
        "patches": PATCHES,
        "channels": CHANNELS,
        "image_size": (8, 8),
        "depth": DepthSpec(0.001, SIZE, (6, 9)),
        "entries": [Entry(f"room/{index}", f"room{index // 4}", "1") for index in range(count)],
        "shard": shard,
    }
    return StoreSpec(**{**fields, **changes})


def block_of(spec: StoreSpec, shard: int, seed: int = 0) -> dict[str, np.ndarray]:
    start, stop = spec.rows(shard)
    draw, n, v = np.random.default_rng(shard + seed), stop - start, len(spec.views)
    block: dict[str, np.ndarray] = {
        f"layers/{layer}": draw.normal(size=(n, v, PATCHES, CHANNELS)).astype(np.float16) for layer in spec.layers
    }
    block["pooled"] = draw.normal(size=(n, v, CHANNELS)).astype(np.float32)
    block["image"] = draw.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    if spec.depth:
        block["depth"] = draw.integers(0, 80_000, (n, *SIZE), dtype=np.uint32)
        if spec.depth.native:
            block["ground_truth"] = draw.integers(0, 80_000, (n, *spec.depth.native), dtype=np.uint32)
            block["ground_truth_size"] = draw.integers(1, 6, (n, 2), dtype=np.int32)
    return block


@pytest.fixture
def make_spec():
    return spec_of


@pytest.fixture
def make_block():
    return block_of


@pytest.fixture
def make_store(tmp_path):
    """Writes a store, all shards of it or those asked for, and returns its path and spec."""

    def make(
        name: str = "store.zarr", shards: list[int] | None = None, seed: int = 0, **changes: Any
    ) -> tuple[Path, StoreSpec]:
        spec = spec_of(**changes)
        writer = StoreWriter(tmp_path / name, spec, {"split": "train", "split_by": "scene"})
        for shard in writer.pending if shards is None else shards:
            writer.write(shard, block_of(spec, shard, seed))
        return tmp_path / name, spec

    return make
