"""A small store whose depth can be learned from its features."""

import numpy as np
import pytest
from spaceclip.cache import DepthSpec, Entry, FeatureCache, StoreSpec, StoreWriter
from spaceclip.train import DecoderSettings, TrainSettings

PATCHES, CHANNELS, SIZE = 4, 8, (24, 32)


@pytest.fixture
def make_cache(tmp_path):
    def make(count: int = 12, name: str = "store.zarr", seed: int = 0) -> FeatureCache:
        spec = StoreSpec(
            backbone={"name": "tiny", "revision": "abc", "weights": "1", "precision": "float32"},
            preprocessing={"target_size": SIZE},
            layers=(0, 1, 2, 3),
            views=("plain", "flipped"),
            patches=PATCHES,
            channels=CHANNELS,
            image_size=(8, 8),
            depth=DepthSpec(0.001, SIZE),
            entries=[Entry(f"{index}", f"scene{index // 3}", "1") for index in range(count)],
            shard=64,
        )
        draw = np.random.default_rng(seed)
        far = draw.uniform(1, 8, count)
        noise = draw.normal(0, 0.1, (4, count, 2, PATCHES, CHANNELS))
        states = (noise + far[None, :, None, None, None] / 8).astype(np.float16)
        depth = far[:, None, None] * np.linspace(0.8, 1.2, SIZE[0])[None, :, None] * np.ones((1, 1, SIZE[1]))
        block = {f"layers/{layer}": states[layer] for layer in range(4)}
        block["pooled"] = states[3].mean(2).astype(np.float32)
        block["image"] = np.zeros((count, 8, 8, 3), np.uint8)
        block["depth"] = np.rint(depth * 1000).astype(np.uint32)
        writer = StoreWriter(tmp_path / name, spec, {"split_by": "scene"})
        writer.write(0, block)
        return FeatureCache.open(writer.path)

    return make


@pytest.fixture
def small():
    """A decoder for that store."""
    return DecoderSettings(
        hidden_size=CHANNELS,
        channels=(8, 8, 6, 4),
        film_hidden=8,
        semantic_layers=(3, 2, 1, 0),
        structural_layers=(2, 1, 0),
    )


@pytest.fixture
def recipe():
    return TrainSettings(epochs=4, batch_size=4, learning_rate=3e-3, max_depth=10.0, precision="float32")
