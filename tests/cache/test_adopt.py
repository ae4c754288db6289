import errno
import os
from dataclasses import replace

import numpy as np
import pytest
from spaceclip.cache import Entry, FeatureCache, StoreWriter, adopt, like_stores, offers


@pytest.fixture
def mended(make_store, tmp_path):
    """A whole store of three shards, and the writer of one whose ninth sample has another content."""
    path, spec = make_store("train-old.zarr")
    entries = [Entry(entry.id, entry.scene, "2") if row == 8 else entry for row, entry in enumerate(spec.entries)]
    return path, StoreWriter(tmp_path / "train-new.zarr", replace(spec, entries=entries), {})


def test_shards_of_unchanged_samples_are_taken_over_without_a_copy(mended, make_block):
    old, writer = mended
    adopt(writer, offers(writer.spec, writer.pending, like_stores(writer.spec, [old])))
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
    adopt(writer, offers(writer.spec, writer.pending, like_stores(writer.spec, [old])))
    assert writer.pending == [1, 2]


def test_a_store_made_otherwise_is_passed_over(mended, make_store):
    _, writer = mended
    other, _ = make_store("train-other.zarr", patches=4, shard=5)
    assert like_stores(writer.spec, [other, other.with_name("absent.zarr")]) == []


def test_without_hard_links_the_shards_stay_to_be_computed(mended, monkeypatch):
    old, writer = mended

    def refuse(_source, _target):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    adopt(writer, offers(writer.spec, writer.pending, like_stores(writer.spec, [old])))
    assert writer.pending == [0, 1, 2]
