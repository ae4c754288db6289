from pathlib import Path

import numpy as np
import pytest
from spaceclip.cache import Batches, FeatureCache, SpaceClipError, verify
from spaceclip.extract import ExtractSettings, extract, load_backbone
from spaceclip.extract.preprocess import prepare_image

SETTINGS = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=8)
BAD = {3: "frame003.png: is cut short", 17: "frame017.png: holds no measured depth"}


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def make_bad(make_frames):
    """Frames some of which cannot be loaded."""

    def make(count=30, bad=BAD):
        frames, good = make_frames(count), make_frames(count)

        def load(index):
            if index in bad:
                raise SpaceClipError(bad[index])
            return good.load(index)

        frames.load = load
        return frames

    return make


def test_a_bad_sample_keeps_its_row_of_zeros_and_the_others_their_bytes(make_bad, make_frames, backbone, tmp_path):
    done = extract(make_bad(), backbone, SETTINGS, tmp_path / "bad", "train", {}, on_error="quarantine")
    good = extract(make_frames(30), backbone, SETTINGS, tmp_path / "good", "train", {})
    assert [(sample.row, sample.id, sample.reason) for sample in done.quarantined] == [
        (3, "frame003", BAD[3]),
        (17, "frame017", BAD[17]),
    ]
    assert done.store.name == good.store.name
    cache, whole = FeatureCache.open(done.pointer), FeatureCache.open(good.pointer)
    assert (cache.quarantined, whole.quarantined) == (BAD, {})
    for row in range(30):
        for view in ("plain", "flipped"):
            for layer, states in cache.states([row], view).items():
                expected = whole.states([row], view)[layer]
                np.testing.assert_array_equal(states, np.zeros_like(expected) if row in BAD else expected)
            assert cache.pooled([row], view).any() == (row not in BAD)
        assert cache.image(row).any() == cache.depth(row).any() == (row not in BAD)
    assert verify(done.store).problems == []


def test_batches_leave_bad_samples_out_and_are_otherwise_whole(make_bad, backbone, tmp_path):
    done = extract(make_bad(), backbone, SETTINGS, tmp_path, "train", {}, on_error="quarantine")
    batches = Batches(FeatureCache.open(done.pointer), 4, [0], seed=0)
    seen = [int(row) for batch in batches.epoch(0) for row in batch.indices]
    assert len(batches) == 28 // 4
    assert sorted(seen) == [row for row in range(30) if row not in BAD]


def test_running_again_computes_nothing_and_still_tells(make_bad, backbone, tmp_path):
    first = extract(make_bad(), backbone, SETTINGS, tmp_path, "train", {}, on_error="quarantine")
    again = extract(make_bad(), backbone, SETTINGS, tmp_path, "train", {})
    assert again.computed == 0
    assert again.quarantined == first.quarantined
    assert again.receipt is None


def test_mended_samples_are_retried_at_the_cost_of_their_shards(make_bad, make_frames, backbone, tmp_path, contents):
    extract(make_bad(), backbone, SETTINGS, tmp_path / "bad", "train", {}, on_error="quarantine")
    extract(make_frames(30), backbone, SETTINGS, tmp_path / "good", "train", {})
    mended = extract(make_frames(30), backbone, SETTINGS, tmp_path / "bad", "train", {}, retry_quarantined=True)
    assert (mended.computed, mended.quarantined) == (16, ())
    assert contents(tmp_path / "bad") == contents(tmp_path / "good")


def test_samples_mended_to_other_files_are_all_that_is_computed(make_bad, make_frames, backbone, tmp_path):
    extract(make_bad(), backbone, SETTINGS, tmp_path / "bad", "train", {}, on_error="quarantine")

    def mended():
        frames = make_frames(30)
        frames.entries = [type(entry)(entry.id, entry.scene, "2") if n in BAD else entry
                          for n, entry in enumerate(frames.entries)]  # fmt: skip
        return frames

    whole = extract(mended(), backbone, SETTINGS, tmp_path / "good", "train", {})
    done = extract(mended(), backbone, SETTINGS, tmp_path / "bad", "train", {})
    assert (done.computed, done.store.name) == (2, whole.store.name)
    assert FeatureCache.open(done.pointer).quarantined == {}
    assert verify(done.store).problems == []


def test_a_shard_of_bad_samples_alone_is_kept_too(make_bad, backbone, tmp_path):
    bad = {row: f"frame{row}: gone" for row in range(8, 16)}
    done = extract(make_bad(bad=bad), backbone, SETTINGS, tmp_path, "train", {}, on_error="quarantine")
    assert FeatureCache.open(done.store).quarantined == bad


@pytest.mark.parametrize("bad", [{3: "gone"}, dict.fromkeys(range(8, 16), "gone")])
def test_a_sample_that_went_bad_before_a_layer_was_added_is_zeros_in_every_layer(
    make_bad, make_frames, backbone, tmp_path, contents, bad
):
    fewer = SETTINGS.model_copy(update={"layers": (0, 2)})
    old = extract(make_frames(20), backbone, fewer, tmp_path / "grown", "train", {})
    before = contents(old.store)
    grown = extract(make_bad(20, bad), backbone, SETTINGS, tmp_path / "grown", "train", {}, on_error="quarantine")
    whole = extract(make_bad(20, bad), backbone, SETTINGS, tmp_path / "whole", "train", {}, on_error="quarantine")
    assert contents(grown.store) == contents(whole.store)
    assert verify(grown.store, deep=True).problems == []
    assert contents(old.store) == before
    assert Path(f"{grown.store}/layers/0/c/2/0/0/0").samefile(f"{old.store}/layers/0/c/2/0/0/0")


def test_without_being_asked_a_bad_sample_stops_the_run(make_bad, backbone, tmp_path):
    with pytest.raises(SpaceClipError, match="frame003"):
        extract(make_bad(), backbone, SETTINGS, tmp_path, "train", {})


def test_a_map_replaced_by_a_larger_one_is_bad_too(make_frames, backbone, tmp_path):
    frames = make_frames(6)
    load = frames.load

    def replaced(index):
        sample = load(index)
        if index == 4:
            depth = np.ones((40, 36), np.float32)
            return type(sample)(sample.id, sample.image, depth, sample.scene)
        return sample

    frames.load = replaced
    done = extract(frames, backbone, SETTINGS, tmp_path, "train", {}, on_error="quarantine")
    assert "frame004: depth is 40 x 36, but 24 x 36 was when it was listed" in done.quarantined[0].reason
    good = FeatureCache.open(done.store)
    np.testing.assert_array_equal(good.image(5), prepare_image(load(5).image, (24, 36), 32))
