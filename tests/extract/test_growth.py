"""A store grows by layers, views and images, and nothing that is there is computed or written again."""

import numpy as np
import pytest
from spaceclip.cache import Entry, FeatureCache, StoreError, verify
from spaceclip.extract import ExtractSettings, extract, load_backbone, plan

FEW = ExtractSettings(layers=(0, 2), batch_size=3, shard=8)
MORE = FEW.model_copy(update={"layers": (0, 2, 3)})
PLAIN = MORE.model_copy(update={"views": ("plain",)})


class Watched:
    """An encoder that notes how many images it was given, and which hidden states of them were asked for."""

    def __init__(self, backbone):
        self._backbone, self.asked = backbone, []

    def __getattr__(self, name):
        return getattr(self._backbone, name)

    def encode(self, images, layers):
        self.asked.append((len(images), tuple(layers)))
        return self._backbone.encode(images, layers)


@pytest.fixture
def backbone(tiny_config):
    return Watched(load_backbone(f"random:{tiny_config}", precision="float32"))


@pytest.fixture
def run(backbone, tmp_path):
    """Extracts into a folder, and forgets what was asked of the encoder before."""

    def extract_into(frames, settings, folder="grown"):
        backbone.asked.clear()
        return extract(frames, backbone, settings, tmp_path / folder, "train", {})

    return extract_into


def _some(frames, rows):
    """Some frames of a source, in another order."""
    whole = type(frames)(len(frames.entries))
    frames.entries = [whole.entries[row] for row in rows]
    frames.load = lambda at: whole.load(rows[at])
    return frames


def _reads_alike(one, other, ids):
    """Whether two stores say the same of samples, to float16's last bit: batches of other sizes round otherwise."""
    rows = [[cache.sample_ids.index(name) for name in ids] for cache in (one, other)]
    for view in one.views:
        for layer in one.layers:
            mine, theirs = (c.states(at, view, [layer])[layer] for c, at in zip((one, other), rows, strict=True))
            np.testing.assert_allclose(mine.astype(np.float32), theirs.astype(np.float32), rtol=2e-3, atol=2e-3)
    for mine, theirs in zip(*rows, strict=True):
        np.testing.assert_array_equal(one.image(mine), other.image(theirs))
        np.testing.assert_array_equal(one.ground_truth(mine), other.ground_truth(theirs))


def test_a_new_layer_is_all_that_is_computed_and_written(make_frames, run, backbone, contents):
    old = run(make_frames(20), FEW)
    before = contents(old.store)
    grown = run(make_frames(20), MORE)
    assert {layers for _, layers in backbone.asked} == {(3,)}
    whole = run(make_frames(20), MORE, "whole")
    assert contents(grown.store) == contents(whole.store)
    assert contents(old.store) == before
    for name in before:
        if "/c/" in name:
            assert (grown.store / name).samefile(old.store / name), name
    assert verify(grown.store, deep=True).problems == []


def test_a_new_view_is_all_that_is_computed_and_written(make_frames, run, backbone, contents):
    old = run(make_frames(20), PLAIN)
    images = sum(count for count, _ in backbone.asked)
    grown = run(make_frames(20), MORE)
    assert sum(count for count, _ in backbone.asked) == images
    whole = run(make_frames(20), MORE, "whole")
    assert contents(grown.store) == contents(whole.store)
    assert (grown.store / "layers/3/c/1/0/0/0").samefile(old.store / "layers/3/c/1/0/0/0")


def test_layers_of_one_store_and_a_view_of_another_come_together(make_frames, run, backbone, contents):
    run(make_frames(20), FEW)
    run(make_frames(20), PLAIN)
    grown = run(make_frames(20), MORE)
    # Layer 0 and 2 of both views were there, layer 3 of the plain one: what is left is layer 3 of the flipped.
    assert {layers for _, layers in backbone.asked} == {(3,)}
    assert sum(count for count, _ in backbone.asked) == 20 + 2  # and what the preflight tried
    assert contents(grown.store) == contents(run(make_frames(20), MORE, "whole").store)


def test_a_part_of_a_store_is_linked_and_needs_no_encoder(make_frames, run, backbone, contents):
    run(make_frames(20), MORE)
    less = run(make_frames(20), PLAIN)
    assert (less.computed, backbone.asked) == (0, [])
    assert contents(less.store) == contents(run(make_frames(20), PLAIN, "whole").store)


def test_images_added_in_the_middle_are_all_that_is_computed(make_frames, run):
    old = run(_some(make_frames(20), [row for row in range(20) if row not in (5, 6, 7, 14)]), MORE)
    grown, whole = run(make_frames(20), MORE), run(make_frames(20), MORE, "whole")
    assert (old.images, grown.images, grown.computed) == (16, 20, 4)
    cache = FeatureCache.open(grown.pointer)
    _reads_alike(cache, FeatureCache.open(whole.pointer), cache.sample_ids)
    assert verify(grown.store, deep=True).problems == []


def test_rows_that_come_from_another_store_have_its_very_bits(make_frames, run):
    other = FeatureCache.open(run(_some(make_frames(20), list(range(19, -1, -1))), MORE).pointer)
    done = run(make_frames(20), MORE)
    assert done.computed == 0
    cache = FeatureCache.open(done.pointer)
    for row in range(20):
        for view in cache.views:
            np.testing.assert_array_equal(cache.pooled([row], view), other.pooled([19 - row], view))
            for layer, states in cache.states([row], view).items():
                np.testing.assert_array_equal(states, other.states([19 - row], view)[layer])


def test_an_altered_image_is_computed_anew_wherever_it_lies(make_frames, run):
    run(make_frames(20), MORE)
    frames = make_frames(20)
    frames.entries[9] = Entry(frames.entries[9].id, frames.entries[9].scene, "2")
    assert run(frames, MORE).computed == 1


def test_larger_ground_truth_at_the_end_leaves_whole_shards_as_they_are(make_frames, run, backbone, contents):
    sizes, settings = (*[(24, 36)] * 16, (30, 40)), MORE.model_copy(update={"target_size": (24, 36)})
    old = run(_some(make_frames(17, sizes), list(range(16))), settings)
    before = contents(old.store)
    grown = run(make_frames(17, sizes), settings)
    assert sum(count for count, _ in backbone.asked) <= 2 * (1 + 3)  # both views of the one, and of what is tried
    whole = run(make_frames(17, sizes), settings, "whole")
    assert contents(grown.store) == contents(whole.store)
    assert contents(old.store) == before
    for name in before:
        if "/c/" in name and not name.startswith("ground_truth"):
            assert (grown.store / name).samefile(old.store / name), name


def test_what_growing_takes_is_known_beforehand(make_frames, run, backbone, tmp_path):
    run(make_frames(20), FEW)
    planned = plan(make_frames(20), backbone, MORE, tmp_path / "grown", "train")
    done = run(make_frames(20), MORE)
    new = sum((done.store / f"layers/3/c/{shard}/{view}/0/0").stat().st_size for shard in range(3) for view in (0, 1))
    assert planned.pending_images == done.computed == 20
    assert planned.bytes == pytest.approx(new, rel=0.05)


def test_growing_goes_on_after_it_was_stopped_and_leaves_the_same_store(make_frames, run, backbone, tmp_path, contents):
    run(make_frames(30), FEW)

    def stop(done, _total):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(make_frames(30), backbone, MORE, tmp_path / "grown", "train", {}, stop)
    grown = run(make_frames(30), MORE)
    assert 0 < grown.computed < 30
    assert contents(grown.store) == contents(run(make_frames(30), MORE, "whole").store)


def test_a_damaged_row_of_the_store_it_grows_from_is_one_clear_line(make_frames, run):
    old = run(make_frames(20), MORE)
    file = old.store / "layers/3/c/1/0/0/0"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    frames = _some(make_frames(20), list(range(1, 20)))
    with pytest.raises(StoreError, match=r"layers/3/c/1/0/0/0: damaged: row 8 .*; run `spaceclip cache repair`"):
        run(frames, MORE)
