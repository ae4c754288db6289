"""Several stores are read as one that holds the same samples in the same order."""

import numpy as np
import pytest
from spaceclip.cache import Batches, DepthSpec, FeatureCache, StoreError, StoreWriter, joined
from spaceclip.cache.joined import JoinedCaches


@pytest.fixture
def parts(make_store, make_spec, make_block, tmp_path):
    """A store of 10 samples, and two stores of its first 4 and its last 6."""
    whole, spec = make_store("whole.zarr")
    blocks = [make_block(spec, shard) for shard in range(3)]
    rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    for name, (start, stop) in {"first": (0, 4), "rest": (4, 10)}.items():
        part = make_spec(entries=spec.entries[start:stop], shard=3)
        writer = StoreWriter(tmp_path / f"{name}.zarr", part, {"split": "train", "split_by": "scene"})
        for shard in writer.pending:
            low, high = part.rows(shard)
            writer.write(shard, {name: of[start + low : start + high] for name, of in rows.items()})
    return [FeatureCache.open(path) for path in (whole, tmp_path / "first.zarr", tmp_path / "rest.zarr")]


def test_batches_are_those_of_one_store_with_the_same_samples(parts):
    whole, both = parts[0], joined(parts[1:])
    for native in (False, True):
        one, other = (Batches(features, 3, [0, 3], seed=4, native=native) for features in (whole, both))
        for mine, theirs in zip(one.epoch(2), other.epoch(2), strict=True):
            assert mine.states.keys() == theirs.states.keys()
            for name in ("indices", "flipped", "pooled", "depth"):
                np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
            for layer in mine.states:
                np.testing.assert_array_equal(mine.states[layer], theirs.states[layer])


def test_every_row_is_that_of_one_store(parts):
    whole, both = parts[0], joined(parts[1:])
    assert len(whole) == len(both)
    assert whole.sample_ids == both.sample_ids
    assert whole.scenes == both.scenes
    rows = [9, 0, 3, 4]
    np.testing.assert_array_equal(whole.pooled(rows, "flipped"), both.pooled(rows, "flipped"))
    np.testing.assert_array_equal(whole.states(rows)[3], both.states(rows)[3])
    for row in rows:
        np.testing.assert_array_equal(whole.depth(row), both.depth(row))
        np.testing.assert_array_equal(whole.ground_truth(row), both.ground_truth(row))
        np.testing.assert_array_equal(whole.image(row), both.image(row))
    with pytest.raises(IndexError):
        both.depth(10)


def test_layers_and_views_are_those_that_all_have(parts, make_store):
    path, _ = make_store("more.zarr", layers=(3, 0, 6), views=("plain",), seed=9)
    both = joined([parts[0], FeatureCache.open(path)])
    assert (both.layers, both.views) == ((0, 3), ("plain",))
    np.testing.assert_array_equal(both.states([10], layers=[3])[3], FeatureCache.open(path).states([0], layers=[3])[3])
    with pytest.raises(StoreError, match=r"whole\.zarr and 1 more: lacks the hidden states \[6\], it holds \[0, 3\]"):
        both.require([6], depth=True)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"backbone": {"name": "large"}}, r"backbone\.name is 'large' there, 'tiny' is wanted"),
        ({"depth": DepthSpec(0.002, (5, 7), (6, 9))}, r"depth\.unit is 0\.002 there, 0\.001 is wanted"),
        ({"preprocessing": {"target_size": (5, 7), "mean": (0, 0, 0)}}, r"preprocessing\.mean is \[0, 0, 0\]"),
    ],
)
def test_a_store_of_other_settings_is_named_with_what_differs(parts, make_store, changes, differs):
    other = FeatureCache.open(make_store("other.zarr", **changes)[0])
    with pytest.raises(StoreError, match=rf"other\.zarr, given beside .*first\.zarr, was made with other .*{differs}"):
        joined([*parts[1:], other])


def test_a_store_that_is_given_twice_is_refused(parts):
    with pytest.raises(StoreError, match=r"first\.zarr holds the same as .*first\.zarr: give each store once"):
        joined([*parts[1:], parts[1]])


def test_ground_truth_of_another_size_is_trained_beside_and_not_validated(parts, make_store):
    other = FeatureCache.open(make_store("other.zarr", seed=5, depth=DepthSpec(0.001, (5, 7)))[0])
    both = joined([parts[0], other])
    assert len(list(Batches(both, 5, [0], seed=1).epoch(0))) == 4
    assert both.ground_truth(10).shape == (5, 7)
    with pytest.raises(StoreError, match=r"other\.zarr: its ground truth is kept in \(5, 7\), that of .* in \(6, 9\)"):
        Batches(both, 5, [0], seed=1, native=True)


def test_the_digest_knows_every_store(parts):
    first, rest = parts[1:]
    digests = [joined([first, rest]).digest, joined([rest, first]).digest, first.digest, rest.digest]
    assert len(set(digests)) == 4
    assert joined([first]) is first
    assert isinstance(joined([first, rest]), JoinedCaches)
