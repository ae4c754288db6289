"""A small store in memory, a small decoder for it, and results to write and draw."""

import numpy as np
import pytest
import torch
from spaceclip.evaluate import BackboneFacts, CheckpointFacts, DepthMaps, EvaluateSettings, Scorer, score
from spaceclip.train.decoder import DecoderSettings, DepthDecoder

LAYERS = (0, 1, 2, 3)


class MemoryCache:
    """What evaluation asks of a feature store, held in memory; native sizes differ from image to image."""

    def __init__(self, count: int, seed: int, views: tuple[str, ...] = ("plain", "flipped")) -> None:
        generator = np.random.default_rng(seed)
        self.layers, self.views = LAYERS, views
        self.sample_ids = [f"sample_{index}" for index in range(count)]
        self.scenes = [f"scene_{index // 2}" for index in range(count)]
        self._states = generator.normal(size=(len(views), len(LAYERS), count, 4, 8)).astype(np.float16)
        self._pooled = generator.normal(size=(len(views), count, 8)).astype(np.float32)
        self.depths = [generator.uniform(1, 9, (12, 16)).astype(np.float32) for _ in range(count)]
        self.truths = [generator.uniform(1, 9, (40 + index, 50)).astype(np.float32) for index in range(count)]

        self.depth_size = (12, 16)
        self.quarantined: dict[int, str] = {}
        self.about = {"data": "nyu", "split": "val", "split_by": "scene"}
        self.storage = "float16"
        self.content_hashes = [f"{index}" for index in range(count)]

    def __len__(self):
        return len(self.sample_ids)

    def states(self, indices, view="plain", layers=None):
        kept = self.layers if layers is None else layers
        return {layer: self._states[self.views.index(view), layer, list(indices)] for layer in kept}

    def pooled(self, indices, view="plain"):
        return self._pooled[self.views.index(view), list(indices)]

    def depth(self, index):
        return self.depths[index]

    def ground_truth(self, index):
        return self.truths[index]

    def image(self, index):
        return np.full((24, 32, 3), index, np.uint8)


@pytest.fixture
def make_cache():
    return MemoryCache


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    settings = DecoderSettings(
        hidden_size=8, channels=(8, 8, 8, 4), film_hidden=8, semantic_layers=(3, 2, 1, 0), structural_layers=(2, 1, 0)
    )
    made = DepthDecoder(settings)
    torch.nn.init.constant_(made.head.predict.bias, 3.0)  # pyright: ignore[reportArgumentType]
    return made


@pytest.fixture
def protocol():
    return EvaluateSettings().protocol("controlled", {"split_by": "scene"}, min_depth=0.001, max_depth=10.0)


@pytest.fixture
def make_maps():
    """Predictions of made-up indoor depth, some 10 % wrong."""

    def make(count: int = 4, size: tuple[int, int] = (60, 80), known: float = 1.0, seed: int = 0) -> list[DepthMaps]:
        generator = np.random.default_rng(seed)
        made = []
        for index in range(count):
            truth = np.linspace(2, 8, size[0], dtype=np.float32)[:, None] + generator.uniform(0, 1, size)
            predicted = torch.from_numpy((truth * generator.normal(1, 0.1, size)).astype(np.float32))
            truth = np.where(generator.random(size) < known, truth, 0).astype(np.float32)
            made.append(DepthMaps(index, f"id_{index}", f"scene_{index // 2}", {"plain": predicted}, {None: truth}))
        return made

    return make


@pytest.fixture
def scored(protocol):
    """Scores of some maps, under the usual protocol or another, as they are or replaced by one depth everywhere."""

    def run(maps, protocol=protocol, constant=None):
        scorer = Scorer(protocol)
        if constant is not None:
            maps = [row._replace(depths={"plain": row.depths["plain"] * 0 + constant}) for row in maps]
        score(maps, [("plain", scorer)])
        return scorer.scores()

    return run


@pytest.fixture
def facts():
    checkpoint = CheckpointFacts(
        path="runs/demo/best.safetensors", sha256="0" * 64, epoch=7, weights="ema", chosen="best", storage="float16"
    )
    backbone = BackboneFacts(name="tiny-clip", revision="random weights, seed 0", weights="ab" * 32, random=True)
    return {"data": "synthetic", "model": checkpoint, "backbone": backbone}
