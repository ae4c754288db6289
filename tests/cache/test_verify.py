import shutil

import pytest
from spaceclip.cache import FeatureCache, Problem, StoreError, verify


def test_a_whole_store_has_no_problem(make_store):
    path, _ = make_store()
    read: list[int] = []
    found = verify(path, read.append)
    assert (found.problems, found.shards) == ([], 3)
    assert sum(read) == found.bytes > 0


def test_missing_torn_and_altered_objects_are_named(make_store):
    path, _ = make_store()
    (path / "layers/0/c/0/0/0/0").unlink()
    torn = path / "pooled/c/1/0/0"
    torn.write_bytes(torn.read_bytes()[:-1])
    altered = path / "depth/c/2/0/0"
    altered.write_bytes(bytes([altered.read_bytes()[0] ^ 1]) + altered.read_bytes()[1:])
    assert verify(path).problems == [
        Problem("missing", 0, "layers/0"),
        Problem("torn", 1, "pooled"),
        Problem("altered", 2, "depth"),
    ]


def test_whole_chunks_in_the_wrong_place_are_found_though_their_checksums_agree(make_store):
    path, _ = make_store()
    shutil.copy(path / "layers/3/c/1/0/0/0", path / "layers/3/c/0/0/0/0")
    assert verify(path).problems == [Problem("altered", 0, "layers/3")]


def test_shards_without_a_record_are_missing(make_store):
    path, _ = make_store(shards=[1])
    assert verify(path).problems == [Problem("missing", 0, None), Problem("missing", 2, None)]


def test_no_store_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="no feature store is there"):
        verify(tmp_path / "nothing")


def test_an_array_that_is_gone_or_has_torn_metadata_is_missing_in_every_shard(make_store):
    path, _ = make_store()
    shutil.rmtree(path / "layers/3")
    assert verify(path).problems == [Problem("missing", shard, "layers/3") for shard in range(3)]
    other, _ = make_store("other.zarr")
    (other / "layers/3/zarr.json").write_text("{")
    assert verify(other).problems == []
    with pytest.raises(StoreError, match=r"layers/3/zarr\.json: damaged"):
        FeatureCache.open(other).states([0])


@pytest.mark.parametrize("content", [None, b"{", b'{"id": 1}\n'])
def test_a_torn_sample_list_is_one_clear_line(make_store, content):
    path, _ = make_store()
    (path / "samples.jsonl").unlink()
    if content:
        (path / "samples.jsonl").write_bytes(content)
    with pytest.raises(StoreError, match=r"samples\.jsonl: unreadable"):
        verify(path)
