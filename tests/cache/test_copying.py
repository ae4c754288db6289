import shutil

import pytest
from spaceclip.cache import FeatureCache, Pointer, StoreError, StoreWriter, copy, only_writer, verify


@pytest.fixture
def store(make_store):
    path, spec = make_store("train-1.zarr")
    Pointer(path.name, spec.fingerprint, 10, FeatureCache.open(path).digest).write(path.parent / "train.json")
    return path


@pytest.mark.parametrize("given", ["", "train.json", "train-1.zarr"])
def test_a_copy_has_the_same_bytes_and_opens_by_its_pointer(store, tmp_path, contents, given):
    done = copy(store.parent / given, tmp_path / "a b" / "ü")
    assert (done.shards, done.copied) == (3, 3)
    assert contents(done.store) == contents(store)
    assert done.pointer is not None
    assert done.pointer.read_bytes() == (store.parent / "train.json").read_bytes()
    assert FeatureCache.open(done.pointer).path == done.store
    assert sorted(file.name for file in done.store.parent.iterdir()) == ["train-1.zarr", "train.json"]


def test_an_interrupted_copy_goes_on_with_what_is_not_yet_verified(store, tmp_path, contents):
    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done > total / 2:
            raise KilledError

    with pytest.raises(KilledError):
        copy(store, tmp_path / "out", kill)
    partial = tmp_path / "out" / "train-1.zarr"
    assert not (tmp_path / "out" / "train.json").exists()
    with pytest.raises(StoreError, match="incomplete, 2 of 3"):
        FeatureCache.open(partial)
    first = partial / "layers/3/c/0/0/0/0"
    stamp = first.stat().st_mtime_ns
    done = copy(store, tmp_path / "out")
    assert (done.copied, first.stat().st_mtime_ns) == (2, stamp)
    assert contents(done.store) == contents(store)
    assert copy(store, tmp_path / "out").copied == 0


def test_a_file_that_another_store_shares_is_never_written_into(store, tmp_path, contents):
    """Extraction links the objects that a like store holds already."""
    done = copy(store, tmp_path / "out")
    shared = tmp_path / "shared"
    shared.hardlink_to(done.store / "image/c/1/0/0/0")
    shared.write_bytes(b"of another store")
    (done.store / "ledger/000001.json").unlink()
    copy(store, tmp_path / "out")
    assert shared.read_bytes() == b"of another store"
    assert contents(done.store) == contents(store)


@pytest.mark.parametrize("file", ["image/c/1/0/0/0", "samples.jsonl", "depth/zarr.json", "layers/0/c/2/0/0/0"])
@pytest.mark.parametrize("gone", [False, True])
def test_damage_is_refused_not_copied(store, tmp_path, file, gone):
    content = (store / file).read_bytes()
    (store / file).unlink()
    if not gone:
        (store / file).write_bytes(content[:-1])
    with pytest.raises(StoreError, match=rf"{file}: damaged; run `spaceclip cache repair .*train-1\.zarr` first"):
        copy(store, tmp_path / "out")
    assert not (tmp_path / "out" / "train.json").exists()


def test_an_unfinished_store_is_copied_as_it_is_and_gets_no_pointer(make_store, tmp_path, contents):
    path, _ = make_store("train-1.zarr", shards=[1])
    done = copy(path, tmp_path / "out")
    assert (done.shards, done.pointer) == (1, None)
    assert contents(done.store) == contents(path)


def test_another_content_in_the_place_of_the_copy_is_refused(store, make_store, make_block, tmp_path, contents):
    other, spec = make_store("train-2.zarr", shards=[])
    StoreWriter(other, spec, {}).write(1, make_block(spec, 0))
    (tmp_path / "out").mkdir()
    other = other.rename(tmp_path / "out" / "train-1.zarr")
    before = contents(other)
    with pytest.raises(StoreError, match="its shard 1 is another than that of"):
        copy(store, tmp_path / "out")
    assert contents(other) == before


def test_a_pointer_to_another_store_is_never_changed(store, tmp_path):
    (tmp_path / "out").mkdir()
    Pointer("train-9.zarr", "9", 1, "").write(tmp_path / "out" / "train.json")
    with pytest.raises(StoreError, match=r"train\.json: points to train-9\.zarr, which a copy would change"):
        copy(store, tmp_path / "out")


def test_a_copy_onto_itself_or_beside_another_run_is_refused(store, tmp_path):
    with pytest.raises(StoreError, match="is the store itself"):
        copy(store, store.parent)
    with only_writer(tmp_path / "out" / store.name), pytest.raises(StoreError, match="is writing this store"):
        copy(store, tmp_path / "out")


def test_too_little_space_is_found_before_the_first_shard(store, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(StoreError, match=r"the copy needs .* GB more, .* GB are free; make room"):
        copy(store, tmp_path / "out")
    assert not list((tmp_path / "out").glob("**/c"))


def test_the_copy_is_checked_as_it_lies_there(store, tmp_path):
    done = copy(store, tmp_path / "out")
    assert verify(done.store, deep=True).problems == []
