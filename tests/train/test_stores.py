"""What happens to a run whose features lie in several stores, or change under it."""

import numpy as np
import pytest
import torch
from spaceclip.cache import FeatureCache, StoreSpec, StoreWriter, joined
from spaceclip.train import Plan, fit

CPU = torch.device("cpu")


def rows_of(cache: FeatureCache, start: int, stop: int) -> dict[str, np.ndarray]:
    """Some rows of every array, as they are written."""
    return {part.array: cache.array(part.array).read_rows(start, stop) for part in cache.parts.values()}


@pytest.fixture
def part(tmp_path):
    """Writes some rows of a store as a store of their own."""

    def write(cache: FeatureCache, start: int, stop: int) -> FeatureCache:
        spec = StoreSpec.of({**cache.identity, "shard": stop - start}, cache.entries[start:stop])
        writer = StoreWriter(tmp_path / f"{start}-{stop}.zarr", spec, cache.about)
        writer.write(0, rows_of(cache, start, stop))
        return FeatureCache.open(writer.path)

    return write


@pytest.fixture
def train(small, recipe, tmp_path):
    def run(features, name: str, each_epoch=lambda _plan, _epoch: None, **changes) -> bytes:
        plan = Plan(tmp_path / name, small, recipe.model_copy(update={"keep": "last", **changes}), {})
        fit(features, [plan], score=None, device=CPU, each_epoch=each_epoch)
        return (plan.out / "checkpoint.safetensors").read_bytes()

    return run


def test_several_stores_give_the_weights_of_one_with_the_same_samples(make_cache, part, train):
    whole = make_cache(11)
    parts = [part(whole, 0, 2), part(whole, 2, 8), part(whole, 8, 11)]
    assert train(whole, "whole") == train(joined(parts), "parts")
