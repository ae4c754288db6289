"""A tiny CLIP, saved as its real makers do, a source of made-up frames."""

import json
import os
import textwrap
from pathlib import Path

import numpy as np
import pytest
from spaceclip.extract import Entry, Sample
from warm import Forked

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 99,
    "max_position_embeddings": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    """A whole CLIP, text tower included, written by `save_pretrained`."""
    from transformers.models.clip import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory) -> Path:
    """The configuration alone of a tiny vision tower, for random weights."""
    file = tmp_path_factory.mktemp("config") / "config.json"
    file.write_text(json.dumps({"model_type": "clip_vision_model", **VISION}))
    return file


class Frames:
    """Made-up frames with depth, of one size or of two."""

    def __init__(
        self, count: int, sizes: tuple[tuple[int, int], ...] = ((24, 36),), unit: float | None = 0.001
    ) -> None:
        self.entries = [Entry(f"frame{index:03d}", f"scene{index // 4}", "1") for index in range(count)]
        self.sizes, self.depth_unit, self.depth_counts = sizes, unit, "uint32"
        self.loaded: list[int] = []

    def depth_sizes(self):
        return [None if self.depth_unit is None else self._size(index) for index in range(len(self.entries))]

    def check(self):
        return ()

    def load(self, index):
        self.loaded.append(index)
        draw, size = np.random.default_rng(index), self._size(index)
        image = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        depth = draw.integers(500, 9000, size).astype(np.float32) / 1000
        entry = self.entries[index]
        return Sample(entry.id, image, None if self.depth_unit is None else depth, entry.scene)

    def _size(self, index):
        return self.sizes[index % len(self.sizes)]


@pytest.fixture
def make_frames():
    return Frames


@pytest.fixture
def start_script():
    """Starts Python on a script that may import this file's helpers as `conftest`."""

    def start(script: str) -> Forked:
        return Forked("-c", textwrap.dedent(script), env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})

    return start
