import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from spaceclip.cache import (
    Batches,
    DepthSpec,
    FeatureCache,
    Location,
    Pointer,
    Quarantined,
    StoreError,
    StoreWriter,
    channel_statistics,
    copy,
    locate,
    only_writer,
    verify,
)
from spaceclip.cache.places.folder import Folder


def here(location: Location | None) -> Path:
    assert isinstance(location, Path)
    return location


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
    assert here(done.pointer).read_bytes() == (store.parent / "train.json").read_bytes()
    assert FeatureCache.open(done.pointer).path == done.store
    assert sorted(file.name for file in here(done.store).parent.iterdir()) == ["train-1.zarr", "train.json"]


@pytest.fixture
def kill():
    """A progress that ends a copy half way."""

    class Killed:
        class Error(Exception):
            pass

        def __call__(self, done: int, total: int) -> None:
            if done > total / 2:
                raise self.Error

    return Killed()


def test_an_interrupted_copy_goes_on_with_what_is_not_yet_verified(store, tmp_path, contents, kill):
    with pytest.raises(kill.Error):
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
    (here(done.store) / "ledger/000001.json").unlink()
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
    with pytest.raises(StoreError, match=r"the copy needs \d+\.\d kB more, 1\.0 kB are free; make room"):
        copy(store, tmp_path / "out")
    assert not list((tmp_path / "out").glob("**/c"))


def test_a_copy_is_checked_as_it_lies_there(store, tmp_path, monkeypatch):
    done = copy(store, tmp_path / "out")
    assert verify(done.store, deep=True).problems == []
    write = Folder.write
    monkeypatch.setattr(Folder, "write", lambda self, key, content: write(self, key, bytes(content)[:-1] + b"?"))
    (here(done.store) / "ledger/000001.json").unlink()
    with pytest.raises(StoreError, match="reads otherwise than it was written"):
        copy(store, tmp_path / "out")


def test_a_full_disk_is_one_line_and_the_copy_goes_on(store, tmp_path, monkeypatch, contents):
    write = Folder.write

    def full(place: Folder, key: str, content: bytes) -> None:
        if key.startswith("image/c/1"):
            raise OSError(28, os.strerror(28))
        write(place, key, content)

    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(StoreError, match=r"No space left on device\); what was copied so far is safe: make room"):
        copy(store, tmp_path / "out")
    monkeypatch.undo()
    done = copy(store, tmp_path / "out")
    assert (done.copied, contents(done.store)) == (2, contents(store))


def test_what_a_killed_copy_left_is_swept_up(store, tmp_path, contents):
    done = copy(store, tmp_path / "out")
    (here(done.store) / "ledger/000001.json").unlink()
    (here(done.store) / "image/c/1/0/0/.0.0123456789ab").write_bytes(b"half")
    copy(store, tmp_path / "out")
    assert contents(done.store) == contents(store)


class TestInt8:
    @pytest.fixture
    def int8(self, store, tmp_path):
        return copy(store, tmp_path / "int8", precision="int8")

    def test_it_is_another_store_beside_a_pointer_of_its_own(self, store, int8):
        original, copied = FeatureCache.open(store), FeatureCache.open(int8.pointer)
        assert copied.path == int8.store
        assert int8.store.name == f"train-{copied.fingerprint}.zarr"
        tokens = {**original.identity["tokens"], "storage": "int8"}
        assert copied.identity == {**original.identity, "tokens": tokens}
        assert (copied.about, copied.entries) == (original.about, original.entries)
        assert verify(int8.pointer, deep=True).problems == []

    def test_only_hidden_states_change(self, store, int8, contents):
        original, copied = contents(store), contents(int8.store)
        untouched = [name for name in original if "/c/" in name and not name.startswith("layers/")]
        assert untouched
        assert all(copied[name] == original[name] for name in untouched)
        added = {name for name in copied.keys() - original.keys() if "/c/" in name}
        assert added == {f"scales/{n}/c/{shard}/{view}/0" for n in (0, 3) for shard in range(3) for view in (0, 1)}
        assert all(len(copied[name]) < len(original[name]) for name in original if name.startswith("layers/0/c"))

    def test_states_are_within_half_a_step_of_the_original(self, store, int8):
        original, copied = FeatureCache.open(store), FeatureCache.open(int8.pointer)
        for view in original.views:
            wanted, found = original.states(range(10), view), copied.states(range(10), view)
            for layer in original.layers:
                exact = wanted[layer].astype(np.float64)
                step = np.abs(exact).max(axis=1, keepdims=True) / 127
                assert (np.abs(found[layer] - exact) <= step / 2 + np.abs(exact) * 2.0**-10 + 2.0**-24).all()
                assert not (found[layer] == wanted[layer]).all()

    def test_zarr_itself_opens_it(self, int8):
        cache, group = FeatureCache.open(int8.pointer), zarr.open_group(int8.store, mode="r")
        steps, scales = (np.asarray(group[f"{name}/3"]) for name in ("layers", "scales"))
        assert (steps.dtype, scales.dtype) == (np.int8, np.float32)
        values = (steps * scales[:, :, None]).astype(np.float16)
        for number, view in enumerate(cache.views):
            np.testing.assert_array_almost_equal_nulp(cache.states(range(10), view, [3])[3], values[:, number], 1)

    def test_statistics_and_batches_work_on_it(self, store, int8):
        original, copied = FeatureCache.open(store), FeatureCache.open(int8.pointer)
        wanted, found = channel_statistics(original, 3), channel_statistics(copied, 3)
        np.testing.assert_allclose(found.mean, wanted.mean, atol=0.02)
        np.testing.assert_allclose(found.max, wanted.max, rtol=0.01)
        for one, other in zip(*(Batches(c, 4, [0, 3], seed=1).epoch(0) for c in (original, copied)), strict=True):
            assert (one.indices == other.indices).all()
            np.testing.assert_array_equal(one.depth, other.depth)
            restored = other.states[3] * other.scales[3][:, None]
            np.testing.assert_allclose(one.states[3], restored, atol=0.02)
            assert (one.scales, other.states[3].dtype) == ({}, np.int8)

    def test_quarantined_samples_keep_their_rows_of_zeros(self, make_spec, make_block, tmp_path):
        spec = make_spec(count=4)
        block = make_block(spec, 0)
        for array in block.values():
            array[1] = 0
        bad = Quarantined(1, spec.entries[1].id, "truncated")
        StoreWriter(tmp_path / "train-1.zarr", spec, {}).write(0, block, [bad])
        done = copy(tmp_path / "train-1.zarr", tmp_path / "int8", precision="int8")
        cache = FeatureCache.open(done.store)
        assert cache.quarantined == {1: "truncated"}
        states = cache.states(range(4))[3]
        assert [bool(state.any()) for state in states] == [True, False, True, True]
        assert verify(done.store, deep=True).problems == []

    @pytest.mark.parametrize("changes", [{"depth": None}, {"depth": DepthSpec(0.01, (5, 7))}, {"views": ("plain",)}])
    def test_stores_of_any_settings_can_be_copied_to_it(self, make_store, tmp_path, changes):
        path, _ = make_store("train-1.zarr", count=3, **changes)
        done = copy(path, tmp_path / "int8", precision="int8")
        assert verify(done.store, deep=True).problems == []
        assert copy(path, tmp_path / "same").store.name == path.name

    def test_it_is_made_of_the_same_bytes_every_time_and_goes_on_where_it_stopped(
        self, store, int8, tmp_path, contents, kill
    ):
        with pytest.raises(kill.Error):
            copy(store, tmp_path / "again", kill, precision="int8")
        name = int8.store.name
        with pytest.raises(StoreError, match="incomplete, 2 of 3"):
            FeatureCache.open(tmp_path / "again" / name)
        assert copy(store, tmp_path / "again", precision="int8").copied == 2
        assert copy(store, tmp_path / "again", precision="int8").copied == 0
        assert contents(tmp_path / "again") == contents(tmp_path / "int8")

    def test_the_space_for_it_is_known_to_the_byte(self, store, tmp_path, monkeypatch):
        size = copy(store, tmp_path / "first", precision="int8").bytes
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=size - 1))
        with pytest.raises(StoreError, match="the copy needs"):
            copy(store, tmp_path / "out", precision="int8")
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=size))
        copy(store, tmp_path / "out", precision="int8")

    def test_damage_is_refused(self, store, tmp_path):
        (store / "layers/0/c/1/0/0/0").write_bytes(b"\0" * (store / "layers/0/c/1/0/0/0").stat().st_size)
        with pytest.raises(StoreError, match=r"layers/0/c/1/0/0/0: damaged; run `spaceclip cache repair"):
            copy(store, tmp_path / "out", precision="int8")

    def test_another_original_is_refused(self, int8, make_store, make_block, tmp_path):
        other, spec = make_store("train-9.zarr", shards=[])
        for shard in range(spec.shards):
            rows = np.diff(spec.rows(shard))[0]
            block = {name: array[:rows] for name, array in make_block(spec, 1 - min(shard, 1)).items()}
            StoreWriter(other, spec, {}).write(shard, block)
        with pytest.raises(StoreError, match=r"its shard 0 is another than that of .*train-9\.zarr"):
            copy(other, int8.store.parent, precision="int8")

    def test_int8_stays_int8_and_is_no_source_of_float16(self, int8, tmp_path, contents):
        for precision in ("int8", None):
            done = copy(int8.pointer, tmp_path / f"copy {precision}", precision=precision)
            assert contents(done.store.parent) == contents(int8.store.parent)
        with pytest.raises(StoreError, match=r"holds hidden states in int8, of which no float16 can be made; copy the"):
            copy(int8.pointer, tmp_path / "back", precision="float16")
        assert not (tmp_path / "back").exists()

    def test_a_pointer_to_the_original_is_never_changed(self, store):
        with pytest.raises(StoreError, match=r"points to train-1\.zarr, which a copy would change"):
            copy(store, store.parent, precision="int8")


class TestBucket:
    @pytest.fixture
    def out(self, s3):
        return locate("s3://bucket/features")

    @pytest.mark.parametrize("precision", [None, "int8"])
    def test_there_and_back_are_the_same_bytes(self, store, out, tmp_path, contents, precision):
        there = copy(store, out, precision=precision)
        assert (there.pointer, there.copied) == (out / "train.json", 3)
        assert verify(out / "train.json", deep=True).problems == []
        assert copy(store, out, precision=precision).copied == 0
        back = copy(out, tmp_path / "back")
        copy(store, tmp_path / "here", precision=precision)
        assert contents(tmp_path / "back") == contents(tmp_path / "here")
        assert back.pointer == tmp_path / "back" / "train.json"

    def test_from_bucket_to_bucket(self, store, out):
        copy(store, out)
        done = copy(out / "train.json", out / "int8", precision="int8")
        assert verify(done.store).problems == []
        with pytest.raises(StoreError, match="is the store itself"):
            copy(out, out)

    def test_what_a_bucket_refuses_is_one_line(self, store, s3):
        with pytest.raises(StoreError, match="there is no bucket other"):
            copy(store, locate("s3://other/features"))
