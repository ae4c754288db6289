"""Whole objects in the wrong place: their own checksums are right, and they are other samples' all the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from spaceclip.cache import FeatureCache, StoreError, copy
from spaceclip.cache.format.arrays import part_name
from spaceclip.cache.places.folder import OpenFile

SHARDS = ["layers/3/c/{}/0/0/0", "pooled/c/{}/0/0", "image/c/{}/0/0/0", "depth/c/{}/0/0", "ground_truth/c/{}/0/0"]
SHARDS += ["ground_truth_size/c/{}/0"]
EXCHANGED = {
    **{f"shards of {key.partition('/c')[0]}": (key.format(0), key.format(1)) for key in SHARDS},
    "views of a layer": ("layers/3/c/0/0/0/0", "layers/3/c/0/1/0/0"),
    "views of pooled": ("pooled/c/0/0/0", "pooled/c/0/1/0"),
    "layers": ("layers/0/c/0/0/0/0", "layers/3/c/0/0/0/0"),
    "shards of int8 layers": ("layers/3/c/0/0/0/0", "layers/3/c/1/0/0/0"),
    "shards of int8 scales": ("scales/3/c/0/0/0", "scales/3/c/1/0/0"),
    "layers of int8 scales": ("scales/0/c/0/0/0", "scales/3/c/0/0/0"),
}


def _read_all(cache):
    """Reads everything that training and scoring read, as they do."""
    for row in range(len(cache)):
        for view in cache.views:
            cache.states([row], view)
            cache.pooled([row], view)
        cache.image(row)
        cache.depth(row)
        cache.ground_truth(row)


def _refused(path):
    with pytest.raises(StoreError, match=r"row \d is whole, but is not the one written here.*`spaceclip cache repair`"):
        _read_all(FeatureCache.open(path))


@pytest.mark.parametrize("what", EXCHANGED)
def test_objects_exchanged_within_a_store_are_refused(make_store, tmp_path, what):
    path, _ = make_store(count=8)
    if "int8" in what:
        path = Path(str(copy(path, tmp_path / "int8", precision="int8").store))
    _read_all(FeatureCache.open(path))
    one, other = (path / key for key in EXCHANGED[what])
    one.rename(path / "aside")
    other.rename(one)
    (path / "aside").rename(other)
    _refused(path)


@pytest.mark.parametrize("array", [key.format(0) for key in SHARDS])
@pytest.mark.parametrize("other", ["split", "encoder"])
def test_an_object_of_another_store_of_the_same_shape_is_refused(make_store, array, other):
    path, _ = make_store(count=8)
    theirs, _ = make_store("other.zarr", count=8, seed=9, backbone={"name": other})
    shutil.copy(theirs / array, path / array)
    _refused(path)


def test_a_store_is_read_by_zarr_itself(make_store, make_block):
    path, spec = make_store()
    rows = zarr.open_array(path, path="layers/3", mode="r")[4:8]
    assert np.array_equal(rows, make_block(spec, 1)["layers/3"])  # pyright: ignore[reportArgumentType]


def test_a_chunk_costs_one_read_and_one_of_the_index_where_it_is_compressed(make_store, monkeypatch):
    path, spec = make_store(count=8)
    cache, read = FeatureCache.open(path), []
    of, end = OpenFile.read_into, cache.place.read_end

    def counted(self, start, *buffers):
        read.append(of(self, start, *buffers))
        return read[-1]

    monkeypatch.setattr(OpenFile, "read_into", counted)
    monkeypatch.setattr(cache.place, "read_end", lambda key, size: read.append(size) or end(key, size))
    for row in (1, 2):
        cache.states([row], layers=[3])
    assert read == [spec.patches * spec.channels * 2 + 4] * 2
    read.clear()
    for row in (1, 2):
        cache.image(row)
    assert (len(read), read[0]) == (3, spec.shard * 16 + 4)
    assert part_name("layers/3", "plain") in cache.records[0].checksums
