import shutil
from dataclasses import replace

import pytest
from spaceclip.cache import FeatureCache, Problem, StoreError, StoreWriter, only_writer, repair, verify
from spaceclip.cache.format.ledger import Record

DAMAGED = {
    "layers/3/c/1/0/0/0": ([], [1], []),
    "depth/c/0/0/0": ([], [0], []),
    "ground_truth_size/c/2/0": ([], [2], []),
    "ledger/000001.json": ([], [1], []),
    "pooled/zarr.json": (["pooled/zarr.json"], [], []),
    "layers/zarr.json": (["layers/zarr.json"], [], []),
    "samples.jsonl": ([], [], ["samples.jsonl"]),
    "zarr.json": ([], [], ["zarr.json"]),
}


def _finish(path, spec, make_block):
    """What extraction does: the shards that it had to compute."""
    writer = StoreWriter(path, spec, {"split": "train", "split_by": "scene"})
    pending = writer.pending
    for shard in pending:
        writer.write(shard, make_block(spec, shard))
    return pending


@pytest.mark.parametrize("file", DAMAGED)
def test_the_damaged_is_taken_away_and_the_writer_puts_back_just_that(make_store, make_block, contents, file):
    path, spec = make_store()
    whole = contents(path)
    content = (path / file).read_bytes()
    middle, cut = len(content) // 2, len(file) % 2
    (path / file).write_bytes(content[:middle] + (b"" if cut else bytes([content[middle] ^ 1]) + content[middle + 1 :]))
    done = repair(path)
    assert (done.rewritten, done.removed, done.left) == DAMAGED[file]
    assert done.pending == done.removed
    if done.removed:
        (shard,) = done.removed
        assert not [file for file in contents(path) if f"/c/{shard}/" in file]
        with pytest.raises(StoreError, match="incomplete, 1 of 3 shards"):
            FeatureCache.open(path)
    assert _finish(path, spec, make_block) == done.removed
    assert verify(path, deep=True).problems == []
    assert contents(path) == whole


def test_much_damage_at_once_takes_one_repair(make_store, make_block, contents):
    path, spec = make_store()
    whole = contents(path)
    for file in ("layers/0/c/0/0/0/0", "ledger/000002.json", "image/zarr.json", "samples.jsonl"):
        (path / file).write_bytes(b"x")
    shutil.rmtree(path / "depth/c/0")
    (path / "ledger/stray.json").write_bytes(b"{")
    done = repair(path)
    assert (done.removed, done.rewritten, done.left) == ([0, 2], ["image/zarr.json"], ["samples.jsonl"])
    assert _finish(path, spec, make_block) == [0, 2]
    assert contents(path) == whole
    assert repair(path).problems == []


def test_an_unfinished_store_loses_nothing(make_store, contents):
    path, _ = make_store(shards=[1])
    before = contents(path)
    done = repair(path)
    assert (done.removed, done.pending) == ([], [0, 2])
    assert contents(path) == before


@pytest.mark.parametrize("name", ["1.json", "000099.json", "0000001.json", "¹.json"])
@pytest.mark.parametrize("sound", [True, False])
def test_a_stray_file_among_the_records_is_taken_away_and_no_shard(make_store, contents, name, sound):
    path, _ = make_store()
    before = contents(path)
    record = Record.from_json((path / "ledger/000001.json").read_bytes())
    shard = 99 if name == "000099.json" else 1
    (path / "ledger" / name).write_bytes(replace(record, shard=shard).to_json() if sound else b"{")
    assert verify(path).problems == [Problem("altered", None, file=f"ledger/{name}")]
    done = repair(path)
    assert (done.removed, done.pending, done.left) == ([], [], [])
    assert contents(path) == before


def test_a_store_that_is_being_written_is_left_alone(make_store, contents):
    path, _ = make_store()
    (path / "pooled/c/1/0/0").write_bytes(b"")
    before = contents(path)
    with only_writer(path), pytest.raises(StoreError, match="is writing this store"):
        repair(path)
    assert contents(path) == before


def test_a_damaged_description_of_somebody_elses_store_is_not_overwritten(make_store, make_spec, contents):
    path, _ = make_store()
    (path / "zarr.json").write_bytes(b"{")
    before = contents(path)
    with pytest.raises(StoreError, match="not the metadata of a Zarr group"):
        StoreWriter(path, make_spec(layers=(0, 2)), {})
    assert contents(path) == before
