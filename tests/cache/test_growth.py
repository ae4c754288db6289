import errno
import os
from dataclasses import replace

import numpy as np
import pytest
from spaceclip.cache import (
    DepthSpec,
    Entry,
    FeatureCache,
    StoreWriter,
    compatible_stores,
    link_parts,
    shared_parts,
    shared_rows,
    verify,
)
from spaceclip.cache.places.folder import Folder, is_begun, write_atomically


@pytest.fixture
def mended(make_store, tmp_path):
    """A whole store of three shards, and the writer of one whose ninth sample has another content."""
    path, spec = make_store("train-old.zarr")
    entries = [Entry(entry.id, entry.scene, "2") if row == 8 else entry for row, entry in enumerate(spec.entries)]
    return path, StoreWriter(tmp_path / "train-new.zarr", replace(spec, entries=entries), {})


@pytest.fixture
def grown(make_store, tmp_path):
    """A whole store of three shards, and the writer of one with a layer more."""
    path, spec = make_store("train-old.zarr")
    return path, StoreWriter(tmp_path / "train-new.zarr", replace(spec, layers=(0, 3, 5)), {})


def _adopted(writer, old):
    return link_parts(writer, shared_parts(writer.spec, writer.pending, compatible_stores(writer.spec, [old])))


def test_shards_of_unchanged_samples_are_taken_over_without_a_copy(mended, make_block):
    old, writer = mended
    _adopted(writer, old)
    assert writer.pending == [2]
    writer.write(2, make_block(writer.spec, 2))
    before, after = FeatureCache.open(old), FeatureCache.open(writer.path)
    for row in (0, 7):
        np.testing.assert_array_equal(before.states([row])[3], after.states([row])[3])
        np.testing.assert_array_equal(before.depth(row), after.depth(row))
    file = "layers/0/c/0/0/0/0"
    assert (old / file).samefile(f"{writer.path}/{file}")


def test_an_object_that_was_altered_is_not_taken_over(mended):
    old, writer = mended
    file = old / "pooled/c/1/0/0"
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    _adopted(writer, old)
    assert writer.pending == [1, 2]


def test_a_store_made_otherwise_is_passed_over(mended, make_store):
    _, writer = mended
    other, _ = make_store("train-other.zarr", patches=4, shard=5)
    assert compatible_stores(writer.spec, [other, other.with_name("absent.zarr")]) == []


def test_without_hard_links_the_shards_stay_to_be_computed(mended, monkeypatch):
    old, writer = mended

    def refuse(_source, _target):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    _adopted(writer, old)
    assert writer.pending == [0, 1, 2]


def test_an_object_replaced_on_its_way_gives_no_record_of_other_bytes(mended, monkeypatch):
    old, writer = mended
    take = Folder.take

    def retried(self, key, source, source_key):
        if source_key == "image/c/1/0/0/0":
            write_atomically(old / source_key, b"what a retry made of it")
        return take(self, key, source, source_key)

    monkeypatch.setattr(Folder, "take", retried)
    _adopted(writer, old)
    assert writer.pending == [1, 2]
    assert [problem.shard for problem in verify(writer.path).problems] == [1, 2]


def test_what_was_taken_over_is_not_hashed_again_when_a_run_goes_on(grown, monkeypatch):
    old, writer = grown
    hashed, stored = [], Folder.stored
    monkeypatch.setattr(Folder, "stored", lambda self, key: hashed.append(key) or stored(self, key))
    first = _adopted(writer, old)
    objects = sum(len(record.objects) for record in first.values())
    assert len(hashed) == objects == 3 * 10
    file = old / "layers/3/c/1/0/0/0"
    write_atomically(file, file.read_bytes())  # another file, if of the same bytes
    again = _adopted(StoreWriter(writer.path, writer.spec, {}), old)
    assert again == first
    assert len(hashed) == objects + 1


def test_a_run_killed_before_it_hashed_leaves_nothing_to_be_believed(grown, monkeypatch):
    old, writer = grown
    file = old / "layers/3/c/1/0/0/0"
    file.write_bytes(bytes(file.stat().st_size))

    def kill(_self, _key):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(Folder, "stored", kill)
        killed.setattr(Folder, "delete", kill)
        with pytest.raises(KeyboardInterrupt):
            _adopted(writer, old)
    assert any(is_begun(path.name) for path in writer.path.rglob(".*"))
    kept = _adopted(StoreWriter(writer.path, writer.spec, {}), old)
    assert "layers/3/plain" not in kept[1].objects
    assert "layers/3/plain" in kept[0].objects


@pytest.mark.parametrize(
    ("depth", "lacking"),
    [
        (DepthSpec(0.001, (5, 7), (8, 9)), {"ground_truth"}),
        (DepthSpec(0.001, (5, 7), (6, 9), "uint16"), {"depth", "ground_truth"}),
    ],
    ids=["larger", "of other counts"],
)
def test_other_room_for_depth_leaves_all_else_as_it_is(mended, depth, lacking):
    old, writer = mended
    spec = replace(writer.spec, depth=depth)
    larger = StoreWriter(writer.path.with_name("train-larger.zarr"), spec, {})
    kept = _adopted(larger, old)
    assert kept.keys() == {0, 1}
    for record in kept.values():
        assert record.objects.keys() == set(FeatureCache.open(old).parts) - lacking
    # A row is copied with all its parts or not at all.
    assert shared_rows(spec, [2], compatible_stores(spec, [old])) == {}
    assert shared_rows(writer.spec, [2], compatible_stores(writer.spec, [old])) == {9: (old, 9)}


def test_ground_truth_of_the_size_of_the_targets_can_grow_too(make_store):
    old, spec = make_store("train-old.zarr", depth=DepthSpec(0.001, (5, 7)))
    grown = StoreWriter(old.with_name("train-new.zarr"), replace(spec, depth=DepthSpec(0.001, (5, 7), (8, 9))), {})
    assert "depth" in _adopted(grown, old)[0].objects


@pytest.mark.parametrize("depth", [None, DepthSpec(0.01, (5, 7), (6, 9)), DepthSpec(0.001, (5, 8), (6, 9))])
def test_depth_kept_otherwise_is_made_otherwise(mended, depth):
    old, writer = mended
    assert compatible_stores(replace(writer.spec, depth=depth), [old]) == []
