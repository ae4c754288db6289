"""Features that are kept on the device are seen as they are read from the store."""

from copy import deepcopy

import pytest
import torch
from spaceclip.cache import Batches, FeatureCache, SpaceClipError, copy
from spaceclip.train import Plan, fit, resident
from spaceclip.train.feed import feed
from spaceclip.train.resident import Resident, fits

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


def test_training_comes_to_the_same_weights(make_cache, small, recipe, tmp_path):
    cache = make_cache(11)
    for name, residence in (("read", "no"), ("kept", "device")):
        settings = recipe.model_copy(update={"resident": residence, "keep": "last"})
        fit(cache, [Plan(tmp_path / name, small, settings, {})], score=None, device=CPU)
    read, kept = (tmp_path / name / "checkpoint.safetensors" for name in ("read", "kept"))
    assert read.read_bytes() == kept.read_bytes()


def test_what_does_not_fit_is_refused_with_both_numbers_or_read_from_the_store(make_cache, monkeypatch):
    batches = Batches(make_cache(11), 4, [0], seed=3)
    wanted = 2 * 11 * (4 * 8 * 2 + 8 * 4 + 24 * 32 * 4)
    for free, fit_by_itself in ((wanted - 1, False), (wanted + 1, False), (2 * wanted, True)):
        monkeypatch.setattr(resident, "_free_bytes", lambda _device, free=free: free)
        assert fits(batches, torch.device("cuda"), "auto") is fit_by_itself
        assert not fits(batches, torch.device("cuda"), "no")
        assert not fits(batches, CPU, "auto")
        if free > wanted:
            assert fits(batches, CPU, "device")
        else:
            with pytest.raises(SpaceClipError, match=r"the features take 0\.0 GB, 0\.0 GB are free on cpu; keep fewer"):
                fits(batches, CPU, "device")
