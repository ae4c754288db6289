"""What happens to a run whose features lie in several stores, or change under it."""

import json

import numpy as np
import pytest
import torch
from spaceclip.cache import (
    Batches,
    EncoderRate,
    Entry,
    FeatureCache,
    StoreError,
    StoreSpec,
    StoreWriter,
    compatible_stores,
    joined,
    link_parts,
    repair,
    shared_parts,
)
from spaceclip.train import Callbacks, Plan, fit

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
        fit(features, [plan], score=None, device=CPU, callbacks=Callbacks(each_epoch=each_epoch))
        return (plan.out / "checkpoint.safetensors").read_bytes()

    return run


def test_several_stores_give_the_weights_of_one_with_the_same_samples(make_cache, part, train):
    whole = make_cache(11)
    parts = [part(whole, 0, 2), part(whole, 2, 8), part(whole, 8, 11)]
    assert train(whole, "whole") == train(joined(parts), "parts")


def test_the_receipt_says_what_an_epoch_would_take_without_the_cache(make_cache, part, train, small, recipe, tmp_path):
    whole = make_cache(12)
    parts, held_out = [part(whole, 0, 4), part(whole, 4, 12)], make_cache(6, "val.zarr", seed=1)

    def receipt(name):
        plan = Plan(tmp_path / name, small, recipe.model_copy(update={"keep": "last"}), {})
        return fit(joined(parts), [plan], score=None, device=CPU, validation=held_out)[0].receipt

    for store, rate in zip((*parts, held_out), (4.0, 2.0, 6.0), strict=True):
        found = receipt(f"before {rate}")
        assert found is not None  # one of the three rates is not known
        assert found.encoding is None
        assert "cache" not in str(found)
        EncoderRate(int(10 * rate), 10.0, f"device {rate:g}", "bfloat16").write(store.path)
    found = receipt("after")
    assert found is not None
    assert found.encoding is not None
    assert (found.encoding.seconds, found.encoding.images) == (pytest.approx(4 / 4 + 8 / 2 + 6 / 6), 18)
    assert str(found).endswith(
        "; without the cache an epoch would take 6 s more (encoder at 3 images/s, measured at extraction on "
        "device 4 in bfloat16, device 2 in bfloat16, device 6 in bfloat16)"
    )


@pytest.fixture
def whole(make_cache):
    """Eleven samples in one store, in shards of three."""
    cache = make_cache(11)
    spec = StoreSpec.of({**cache.identity, "shard": 3}, cache.entries)
    writer = StoreWriter(cache.path.with_name("shards.zarr"), spec, cache.about)
    for shard in writer.pending:
        writer.write(shard, rows_of(cache, *spec.rows(shard)))
    return FeatureCache.open(writer.path)


def written_again(cache: FeatureCache, shard: int, block: dict[str, np.ndarray]) -> None:
    """Take a damaged shard away, and write it again as extraction does."""
    path = cache.place.location
    repair(path)
    writer = StoreWriter(path, StoreSpec.of(cache.identity, cache.entries), cache.about)
    assert writer.pending == [shard]
    writer.write(shard, block)


def test_a_store_that_grows_under_a_run_changes_nothing_for_it(whole, train):
    expected, grown = train(whole, "undisturbed"), []

    def grow(_plan, epoch):
        if epoch.epoch == 1:
            spec = StoreSpec.of(whole.identity, [*whole.entries, Entry("new", "new", "1")])
            writer = StoreWriter(whole.path.with_name("grown.zarr"), spec, whole.about)
            shared = shared_parts(spec, writer.pending, compatible_stores(spec, [whole.path]))
            link_parts(writer, shared)
            grown.extend(writer.pending)

    assert train(FeatureCache.open(whole.path), "grown", grow) == expected
    assert grown == [3]  # the others are links to the same files


def test_a_store_that_is_repaired_under_a_run_gives_the_result_of_a_sound_one(whole, train):
    expected, block = train(whole, "undisturbed"), rows_of(whole, 3, 6)

    def repaired(_plan, epoch):
        if epoch.epoch == 1:
            (whole.path / "image/c/1/0/0/0").write_bytes(b"damaged")
            written_again(whole, 1, block)

    assert train(FeatureCache.open(whole.path), "repaired", repaired) == expected


def test_damage_costs_no_step_that_is_done_and_once_repaired_the_run_goes_on(whole, train, recipe, tmp_path):
    expected = train(whole, "undisturbed")
    order, flipped = Batches(whole, 4, [0], seed=recipe.seed).order(0)
    # Of a shard and view that the first batch does not read.
    first = set(zip((order[0] // 3).tolist(), flipped[0].astype(int).tolist(), strict=True))
    second = zip((order[1] // 3).tolist(), flipped[1].astype(int).tolist(), strict=True)
    shard, view = next(one for one in second if one not in first)
    block = rows_of(whole, 3 * shard, min(3 * shard + 3, 11))
    cache = FeatureCache.open(whole.path)
    (whole.path / f"layers/0/c/{shard}/{view}/0/0").write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"layers/0/c/.*: damaged: .*cache repair"):
        train(cache, "mended")
    (state,) = (tmp_path / "mended").glob("unfinished-*/state.json")
    assert json.loads(state.read_bytes())["steps"] == 1
    written_again(whole, shard, block)
    assert train(FeatureCache.open(whole.path), "mended") == expected
