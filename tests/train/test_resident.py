"""Features that are kept on the device are seen as they are read from the store."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from spaceclip.cache import Batches, FeatureCache, SpaceClipError, copy
from spaceclip.cache.format.shard import ShardedArray
from spaceclip.train import Plan, fit, reading, resident
from spaceclip.train.feed import feed
from spaceclip.train.resident import Residence, Resident, residence

CPU = torch.device("cpu")


@pytest.fixture(params=["float16", "int8"])
def cache(request, make_cache, tmp_path):
    cache = make_cache(11)
    if request.param == "int8":
        copy(cache.path, tmp_path / "small", precision="int8")
        return FeatureCache.open(next((tmp_path / "small").glob("*.zarr")))
    return cache


@pytest.mark.parametrize("flips", [0.0, 0.5, 1.0])
def test_batches_are_those_of_the_store(cache, flips):
    batches = Batches(cache, 4, [0, 2], seed=3, flip_probability=flips)
    kept = Resident(batches, CPU)
    for epoch in range(3):
        for first in (0, 1):
            read = list(feed(map(deepcopy, batches.epoch(epoch, first)), CPU))
            found = list(kept.epoch(epoch, first))
            assert len(found) == len(read) == 2 - first
            for one, other in zip(found, read, strict=True):
                assert one.states.keys() == other.states.keys()
                assert all(torch.equal(one.states[layer], other.states[layer]) for layer in one.states)
                assert torch.equal(one.pooled, other.pooled)
                assert torch.equal(one.depth, other.depth)


@pytest.mark.parametrize("flips", [0.0, 0.5, 1.0])
def test_batches_from_memory_are_those_of_the_store_and_nothing_is_read_again(cache, flips, monkeypatch):
    read, kept = (Batches(cache, 4, [0, 2], seed=3, flip_probability=flips) for _ in range(2))
    expected = [list(feed(map(deepcopy, read.epoch(epoch)), CPU)) for epoch in range(3)]
    kept.load()
    monkeypatch.setattr(ShardedArray, "read_bytes", None)
    for epoch, batches in enumerate(expected):
        for one, other in zip(feed(map(deepcopy, kept.epoch(epoch)), CPU), batches, strict=True):
            assert all(torch.equal(one.states[layer], other.states[layer]) for layer in (0, 2))
            assert torch.equal(one.pooled, other.pooled)
            assert torch.equal(one.depth, other.depth)


def test_memory_comes_from_who_knows_the_device(cache, monkeypatch):
    asked = []

    def allocate(shape, dtype):
        asked.append((shape, np.dtype(dtype)))
        return np.empty(shape, dtype)

    monkeypatch.setattr("spaceclip.cache.batches._BLOCK", 300)
    batches = Batches(cache, 4, [0], seed=3, flip_probability=0, allocate=allocate)
    asked.clear()  # the buffers of batches
    batches.load()
    state = 4 * 8 * (2 if cache.storage == "float16" else 1)
    sizes = [state, *([8 * 4] if cache.storage == "int8" else []), 8 * 4, 24 * 32 * 4]
    per_block = [max(1, 300 // size) for size in sizes]
    expected = [
        ((min(step, 11 - first), size), np.uint8)
        for size, step in zip(sizes, per_block, strict=True)
        for first in range(0, 11, step)
    ]
    assert asked == expected


def test_a_processor_has_no_memory_beside_the_machines(make_cache, small, recipe, tmp_path):
    plan = Plan(tmp_path / "run", small, recipe.model_copy(update={"resident": "device", "keep": "last"}), {})
    told = "train.resident is device, and training on cpu has none: set it to memory .* or auto, or train on a card"
    with pytest.raises(SpaceClipError, match=told):
        fit(make_cache(), [plan], score=None, device=CPU)


def test_training_comes_to_the_same_weights(make_cache, small, recipe, tmp_path, monkeypatch):
    cache, found = make_cache(11), set()
    for where in ("no", "device", "memory"):
        # The processor stands in for a card.
        monkeypatch.setattr(reading, "residence", lambda *_, where=where: where)
        settings = recipe.model_copy(update={"keep": "last"})
        fit(cache, [Plan(tmp_path / where, small, settings, {})], score=None, device=CPU)
        found.add((tmp_path / where / "checkpoint.safetensors").read_bytes())
    assert len(found) == 1


def test_what_does_not_fit_is_refused_with_both_numbers_or_read_from_the_store(make_cache, monkeypatch):
    batches, cuda = Batches(make_cache(11), 4, [0], seed=3), torch.device("cuda")
    wanted = 2 * 11 * (4 * 8 * 2 + 8 * 4 + 24 * 32 * 4)
    for free, by_itself in ((wanted - 1, "no"), (wanted + 1, "no"), (2 * wanted, "device")):
        monkeypatch.setattr(resident, "_free_bytes", lambda _device, free=free: free)
        assert residence(batches, cuda, "auto") == by_itself
        assert residence(batches, cuda, "no") == residence(batches, CPU, "auto") == "no"
        places: list[tuple[Residence, torch.device]] = [
            ("device", cuda),
            ("memory", cuda),
            ("memory", CPU),
        ]
        for where, device in places:
            if free > wanted:
                assert residence(batches, device, where) == where
            else:
                place = "cuda" if (where, device) == ("device", cuda) else "cpu"
                told = rf"the features take 0\.0 GB, 0\.0 GB are free on {place}; keep fewer"
                with pytest.raises(SpaceClipError, match=told):
                    residence(batches, device, where)
