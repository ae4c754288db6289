import time
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaceclip.cache import Batches, FeatureCache, StoreError, shuffle
from spaceclip.cache.places.folder import OpenFile


@pytest.fixture
def cache(make_store):
    return FeatureCache.open(make_store()[0])


def _copied(batches: Batches, epoch: int) -> list[tuple]:
    return [
        (
            b.indices.copy(),
            b.flipped.copy(),
            {n: s.copy() for n, s in b.states.items()},
            b.pooled.copy(),
            b.depth.copy(),
        )
        for b in batches.epoch(epoch)
    ]


def test_a_batch_holds_what_the_reader_gives_for_its_rows(cache):
    for batch in Batches(cache, 3, [3], seed=5).epoch(0):
        for at, (index, flipped) in enumerate(zip(batch.indices, batch.flipped, strict=True)):
            view = "flipped" if flipped else "plain"
            np.testing.assert_array_equal(batch.states[3][at], cache.states([index], view)[3][0])
            np.testing.assert_array_equal(batch.pooled[at], cache.pooled([index], view)[0])
            depth = cache.depth(int(index))
            np.testing.assert_allclose(batch.depth[at, 0] * batch.unit, depth, rtol=1e-6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 10), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000), ahead=st.integers(1, 4))
def test_an_epoch_shows_each_row_at_most_once_and_is_the_same_each_time(cache, size, seed, epoch, ahead):
    first = _copied(Batches(cache, size, [0], seed=seed, ahead=ahead), epoch)
    second = _copied(Batches(cache, size, [0], seed=seed, ahead=1, threads=1), epoch)
    rows = np.concatenate([batch[0] for batch in first])
    assert len(first) == 10 // size
    assert len(set(rows.tolist())) == len(rows) == size * (10 // size)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[2][0], other[2][0])
        np.testing.assert_array_equal(one[4], other[4])


def test_epochs_and_seeds_differ(make_store):
    batches = Batches(FeatureCache.open(make_store(count=40)[0]), 40, [0], seed=1)
    orders = [_copied(batches, epoch)[0][0].tolist() for epoch in range(3)]
    orders.append(
        _copied(Batches(FeatureCache.open(make_store("b.zarr", count=40)[0]), 40, [0], seed=2), 0)[0][0].tolist()
    )
    assert len({tuple(order) for order in orders}) == 4


def test_flips_come_as_often_as_asked(make_store):
    cache = FeatureCache.open(make_store(count=400, shard=100)[0])
    share = {
        p: np.mean([b.flipped.mean() for b in Batches(cache, 50, [0], seed=3, flip_probability=p).epoch(0)])
        for p in (0.0, 0.5, 1.0)
    }
    assert share[0.0] == 0
    assert share[1.0] == 1
    assert 0.4 < share[0.5] < 0.6


def test_a_store_too_small_for_a_batch_says_so(cache):
    with pytest.raises(StoreError, match="10 samples do not fill one batch of 64; lower batch_size"):
        Batches(cache, 64, [0], seed=1)


def test_an_absent_layer_or_view_is_refused_before_work(cache, make_store):
    with pytest.raises(StoreError, match=r"lacks the hidden states \[9\], it holds \[0, 3\]"):
        Batches(cache, 2, [0, 9], seed=1)
    plain = FeatureCache.open(make_store("plain.zarr", views=("plain",))[0])
    with pytest.raises(StoreError, match="holds no flipped view"):
        Batches(plain, 2, [0], seed=1)
    assert len(list(Batches(plain, 2, [0], seed=1, flip_probability=0).epoch(0))) == 5


def test_damage_met_while_training_ends_the_epoch_with_its_error(cache):
    (cache.path / "layers/3/c/1/0/0/0").write_bytes(b"")
    with pytest.raises(StoreError, match="damaged"):
        list(Batches(cache, 2, [3], seed=1).epoch(0))


def test_leaving_an_epoch_early_leaves_no_thread_behind(cache):
    import threading

    for _ in Batches(cache, 2, [0], seed=1).epoch(0):
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_any_rows_are_read_in_the_order_asked_for_with_their_ground_truth(cache):
    batches = Batches(cache, 4, [3], seed=0, flip_probability=0, native=True)
    wanted = [np.array(rows) for rows in ([0, 1, 2, 3], [9, 5], [4, 4, 8, 7], [6])]
    for rows, batch in zip(wanted, batches.read((rows, rows > 7) for rows in wanted), strict=True):
        assert batch.indices.tolist() == rows.tolist()
        assert len(batch.states[3]) == len(batch.pooled) == len(batch.depth) == len(rows)
        for at, row in enumerate(rows.tolist()):
            view = "flipped" if row > 7 else "plain"
            np.testing.assert_array_equal(batch.states[3][at], cache.states([row], view)[3][0])
            np.testing.assert_array_equal(batch.pooled[at], cache.pooled([row], view)[0])
            height, width = cache.ground_truth_size(row)
            truth = batch.depth[at, 0, :height, :width] * batch.unit
            np.testing.assert_allclose(truth, cache.ground_truth(row), rtol=1e-6)


def test_by_blocks_whole_shards_follow_one_another_and_their_rows_are_mixed(make_store, monkeypatch):
    monkeypatch.setattr(shuffle, "MIXED", 3)
    batches = Batches(FeatureCache.open(make_store(count=100)[0]), 10, [0], seed=1, shuffle="blocks")
    orders = [batches.order(epoch)[0].ravel() for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(100))
        shards = order // 4
        # 25 shards, those of 2 or 3 at a time.
        mixes = np.split(shards, np.cumsum([12] * 7 + [8] * 1))
        assert all(len(set(mix)) <= 3 for mix in mixes)
        assert any(np.diff(mix).any() for mix in mixes)
    assert len({tuple(order) for order in orders}) == 3
    again = Batches(FeatureCache.open(batches._features.path), 10, [0], seed=1, shuffle="blocks", threads=1, ahead=5)
    np.testing.assert_array_equal(again.order(2)[0].ravel(), orders[2])


def test_by_blocks_batches_hold_the_rows_of_their_order_from_any_batch_on(make_store):
    cache = FeatureCache.open(make_store(count=40)[0])
    batches = Batches(cache, 3, [3], seed=1, shuffle="blocks")
    rows, flipped = batches.order(4)
    for first in (0, 5):
        found = list(map(deepcopy, batches.epoch(4, first)))
        for batch, some, flips in zip(found, rows[first:], flipped[first:], strict=True):
            np.testing.assert_array_equal(batch.indices, some)
            for at, (row, flip) in enumerate(zip(some.tolist(), flips.tolist(), strict=True)):
                expected = cache.states([row], "flipped" if flip else "plain")[3][0]
                np.testing.assert_array_equal(batch.states[3][at], expected)


def test_by_blocks_the_system_is_asked_for_what_will_be_read_and_for_nothing_else(make_store, monkeypatch):
    asked, read = [], []
    monkeypatch.setattr(OpenFile, "will_read", lambda self, start, _size: asked.append((self._file, start)))
    real = OpenFile.read_into
    monkeypatch.setattr(
        OpenFile, "read_into", lambda self, start, *out: read.append((self._file, start)) or real(self, start, *out)
    )
    batches = Batches(FeatureCache.open(make_store(count=20)[0]), 5, [0, 3], seed=1, shuffle="blocks")
    for _ in batches.epoch(0):
        deadline = time.monotonic() + 10
        while len(asked) < 20 * 4 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert sorted(asked) == sorted(read)
    asked.clear()
    list(Batches(FeatureCache.open(batches._features.path), 5, [0], seed=1).epoch(0))
    batches.load()
    list(batches.epoch(0))
    assert not asked
