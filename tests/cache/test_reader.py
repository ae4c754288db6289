import errno
import gc
import json
import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spaceclip.cache import DepthSpec, FeatureCache, Pointer, Problem, StoreError, StoreWriter, verify
from spaceclip.cache.format import shard
from spaceclip.cache.format.ledger import Record, Stored
from spaceclip.cache.format.shard import index_bytes, is_sound
from spaceclip.cache.places.folder import OpenFile
from spaceclip.cache.places.open_files import OpenFiles


def test_reading_gives_what_was_written(make_store, make_block):
    path, spec = make_store()
    cache = FeatureCache.open(path)
    assert (len(cache), cache.layers, cache.views) == (10, (0, 3), ("plain", "flipped"))
    assert cache.sample_ids[9] == "room/9"
    assert cache.scenes[9] == "room2"
    blocks = [make_block(spec, shard) for shard in range(3)]
    whole = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    states = cache.states([9, 0, 4], "flipped")
    for layer in (0, 3):
        np.testing.assert_array_equal(states[layer], whole[f"layers/{layer}"][[9, 0, 4], 1])
    np.testing.assert_array_equal(cache.pooled([2, 7]), whole["pooled"][[2, 7], 0])
    np.testing.assert_array_equal(cache.image(5), whole["image"][5])
    np.testing.assert_allclose(cache.depth(6), whole["depth"][6] / 1000, rtol=1e-6)
    height, width = whole["ground_truth_size"][8]
    np.testing.assert_allclose(cache.ground_truth(8), whole["ground_truth"][8, :height, :width] / 1000, rtol=1e-6)


def test_depth_in_kitti_units_comes_back_exactly(make_store, make_block):
    path, spec = make_store(depth=DepthSpec(1 / 256, (5, 7)))
    counts = make_block(spec, 0)["depth"][1]
    assert (FeatureCache.open(path).depth(1) * 256 == counts).all()


def test_only_the_layers_asked_for_are_read(make_store):
    path, _ = make_store()
    shutil.rmtree(path / "layers" / "0" / "c")
    assert set(FeatureCache.open(path).states([1], layers=[3])) == {3}


def test_an_unfinished_store_is_refused_and_its_empty_rows_too(make_store):
    path, _ = make_store(shards=[0, 2])
    with pytest.raises(StoreError, match="incomplete, 1 of 3 shards are missing; run the same"):
        FeatureCache.open(path)
    cache = FeatureCache.open(path, allow_incomplete=True)
    assert cache.states([0])[0].any()
    with pytest.raises(StoreError, match="shard 1 is not extracted yet"):
        cache.states([5])


ARRAYS = ["layers/3", "pooled", "image", "depth", "ground_truth", "ground_truth_size"]


def _read_all(cache: FeatureCache) -> None:
    for index in range(len(cache)):
        cache.states([index], "plain")
        cache.states([index], "flipped")
        cache.pooled([index], "plain")
        cache.pooled([index], "flipped")
        cache.image(index)
        cache.depth(index)
        cache.ground_truth(index)


# Of an array that is not compressed the index is Zarr's alone: no read needs it, and `verify` finds it altered.
PLAIN = {"layers/3", "pooled", "depth", "ground_truth_size"}


def _first_object(path, name, spec):
    """The first object of an array, and how many of its bytes the reader reads."""
    file = next(found for found in sorted((path / name).rglob("*")) if found.is_file() and "/c/" in str(found))
    content = file.read_bytes()
    return file, content, len(content) - (index_bytes(spec.shard) if name in PLAIN else 0)


@pytest.mark.parametrize("name", ARRAYS)
def test_no_altered_byte_is_ever_believed(make_store, name):
    path, spec = make_store()
    file, content, read = _first_object(path, name, spec)
    for at in np.linspace(0, read - 1, 25).astype(int):
        file.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(StoreError, match="damaged"):
            _read_all(FeatureCache.open(path))


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_an_altered_index_of_a_plain_array_misleads_no_read_and_is_found(make_store, name):
    path, spec = make_store()
    whole = FeatureCache.open(path).array(name).read_rows(0, 10)
    file, content, read = _first_object(path, name, spec)
    for end in (np.random.default_rng(0).bytes(len(content) - read), b""):
        file.write_bytes(content[:read] + end)
        np.testing.assert_array_equal(FeatureCache.open(path).array(name).read_rows(0, 10), whole)
        part = name if name in ("depth", "ground_truth_size") else f"{name}/plain"
        assert verify(path).problems == [Problem("altered" if end else "torn", 0, part)]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("length", [0, 3, -5])
def test_a_file_cut_short_is_refused(make_store, name, length):
    path, spec = make_store()
    file, content, read = _first_object(path, name, spec)
    file.write_bytes(content[:read][:length])
    with pytest.raises(StoreError, match="damaged"):
        _read_all(FeatureCache.open(path))


@pytest.mark.parametrize("name", ARRAYS)
def test_what_was_never_written_is_not_read_as_zeros(make_store, name):
    path, spec = make_store()
    array = FeatureCache.open(path).array(name)
    row = np.empty(array.read_rows(0, 1, 0)[0].shape, array.dtype)
    with pytest.raises(StoreError, match="damaged: row 10"):
        array.read_into(row, len(spec.entries))  # In the last shard, which has room for it.
    file, content, _ = _first_object(path, name, spec)
    file.write_bytes(b"")
    os.truncate(file, len(content))
    with pytest.raises(StoreError, match="damaged"):
        FeatureCache.open(path).array(name).read_into(row, 0)


def test_only_an_array_of_the_right_type_and_size_is_read_into(make_store):
    array = FeatureCache.open(make_store()[0]).array("layers/3")
    for out in (np.empty((4, 6), np.float32), np.empty((4, 5), np.float16)):
        with pytest.raises(TypeError, match=r"layers/3: \(4, 6\) float16 are read, not"):
            array.read_into(out, 0)
    with pytest.raises(ValueError, match="contiguous"):
        array.read_into(np.empty((6, 4), np.float16).T, 0)


@pytest.mark.parametrize("local_copy", [False, True])
def test_threads_that_read_at_once_read_their_own_rows(make_store, make_block, tmp_path, local_copy):
    path, spec = make_store()
    whole = np.concatenate([make_block(spec, shard)["layers/3"] for shard in range(3)])
    cache = FeatureCache.open(path, local_copy=tmp_path / "near" if local_copy else None)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: cache.array("layers/3").read_rows(row, row + 1)[0], list(range(10)) * 20))
    np.testing.assert_array_equal(found, np.concatenate([whole] * 20))


def test_a_deleted_shard_is_refused_where_zarr_would_say_zero(make_store):
    path, _ = make_store()
    (path / "layers/3/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match="the file is missing"):
        FeatureCache.open(path).states([4])


def test_a_shard_that_was_written_anew_under_an_open_reader_says_so(make_store, make_block):
    path, spec = make_store()
    cache, reading = FeatureCache.open(path), FeatureCache.open(path)
    before = [reading.depth(4), FeatureCache.open(path).depth(5)]
    block = make_block(spec, 1)
    block["depth"][:] = 7
    StoreWriter(path, spec, cache.about).write(1, block)
    with pytest.raises(StoreError, match=r"damaged: row 5 .* written anew since the store was opened, open it again"):
        cache.depth(5)
    assert (FeatureCache.open(path).depth(5) == np.float32(0.007)).all()
    # One that reads the shard already goes on with what it has opened.
    np.testing.assert_array_equal([reading.depth(4), reading.depth(5)], before)


def test_a_chunk_is_checked_when_it_is_read_first_and_by_whoever_asks_for_it(make_store, monkeypatch):
    cache, checked = FeatureCache.open(make_store()[0]), []
    monkeypatch.setattr(shard, "is_sound", lambda *pieces: checked.append(1) or is_sound(*pieces))
    out, array = np.empty((4, 6), np.float16), cache.array("layers/3")
    for row, anew, more in ((4, False, 1), (4, False, 0), (5, False, 1), (4, True, 1), (4, False, 0)):
        checked.clear()
        array.read_into(out, row, anew=anew)
        assert len(checked) == more
    array.read_into(out, 4, 1)
    assert len(checked) == 1


def test_a_file_cut_short_under_an_open_reader_is_refused(make_store):
    path, _ = make_store()
    cache = FeatureCache.open(path)
    cache.states([4])
    os.truncate(path / "layers/3/c/1/0/0/0", 10)
    with pytest.raises(StoreError, match="cut short"):
        cache.states([4])


def test_settings_that_differ_are_named_with_both_values(make_store):
    path, _ = make_store()
    FeatureCache.open(path, expect={"backbone": {"name": "tiny"}, "views": ("plain", "flipped")})
    with pytest.raises(StoreError, match=r"backbone\.name is 'tiny' there, 'large' is wanted"):
        FeatureCache.open(path, expect={"backbone": {"name": "large"}})


def test_an_identity_altered_by_hand_is_refused(make_store):
    path, _ = make_store()
    file = path / "zarr.json"
    content = json.loads(file.read_bytes())
    content["attributes"]["spaceclip"]["identity"]["backbone"]["name"] = "better"
    file.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="altered by hand"):
        FeatureCache.open(path)


def test_an_altered_sample_list_is_refused(make_store):
    path, _ = make_store()
    file = path / "samples.jsonl"
    file.write_text(file.read_text().replace("room/3", "room/x"))
    with pytest.raises(StoreError, match="the sample list was altered"):
        _ = FeatureCache.open(path).sample_ids


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"shard": 1}'])
def test_an_unreadable_record_is_one_clear_line(make_store, content):
    path, _ = make_store()
    (path / "ledger/000001.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"000001\.json: the ledger record is unreadable"):
        FeatureCache.open(path)


def test_a_record_of_another_store_is_refused(make_store):
    path, _ = make_store()
    other, _ = make_store("other.zarr", layers=(0, 1))
    shutil.copy(other / "ledger/000001.json", path / "ledger/000001.json")
    with pytest.raises(StoreError, match="says shard 1 of store"):
        FeatureCache.open(path)


def _point(path, spec):
    pointer = path.parent / "train.json"
    Pointer(path.name, spec.fingerprint, 10, FeatureCache.open(path).digest).write(pointer)
    return pointer


def test_a_store_opens_by_its_pointer_and_by_the_folder_that_holds_it(make_store, tmp_path):
    path, spec = make_store()
    _point(path, spec)
    assert FeatureCache.open(tmp_path / "train.json").fingerprint == spec.fingerprint
    assert FeatureCache.open(tmp_path).fingerprint == spec.fingerprint
    (tmp_path / "val.json").write_text("{}")
    with pytest.raises(StoreError, match=r"found train\.json, val\.json; name the one you mean"):
        FeatureCache.open(tmp_path)


def test_a_pointer_to_a_deleted_store_is_refused(make_store):
    path, spec = make_store()
    pointer = _point(path, spec)
    shutil.rmtree(path)
    with pytest.raises(StoreError, match="no feature store is there"):
        FeatureCache.open(pointer)


def test_a_restored_pointer_over_another_content_is_refused(make_store, make_block):
    path, spec = make_store()
    pointer = _point(path, spec)
    file = path / "ledger/000001.json"
    record = Record.from_json(file.read_bytes())
    file.write_bytes(replace(record, objects={**record.objects, "pooled/plain": Stored(1, "0" * 64)}).to_json())
    with pytest.raises(StoreError, match="its content is not what the pointer"):
        FeatureCache.open(pointer)


@pytest.mark.parametrize("change", [{"fingerprint": "0123456789ab"}, {"samples": 9}], ids=["fingerprint", "samples"])
def test_a_pointer_that_says_otherwise_is_refused_though_the_ledger_agrees(make_store, change):
    path, spec = make_store()
    pointer = _point(path, spec)
    pointer.write_text(json.dumps({**json.loads(pointer.read_bytes()), **change}))
    with pytest.raises(StoreError, match="its content is not what the pointer"):
        FeatureCache.open(pointer)


def test_any_bit_of_a_record_is_sealed(make_store):
    path, _ = make_store()
    content = (path / "ledger/000001.json").read_bytes()
    record = Record.from_json(content)
    assert record.to_json() == content
    for at in range(len(content)):
        for bit in range(8):
            with pytest.raises(ValueError):  # noqa: PT011 - that it is refused is the point
                Record.from_json(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])


def test_metadata_of_another_shape_is_refused_by_the_reader(make_store):
    path, _ = make_store()
    file = path / "layers/3/zarr.json"
    file.write_text(file.read_text().replace("10,", "11,", 1))
    with pytest.raises(StoreError, match=r"layers/3/zarr\.json: damaged .not what the store's identity asks for"):
        FeatureCache.open(path).states([0])


@pytest.mark.parametrize("path", ["absent", "absent.json"])
def test_nothing_there_is_one_clear_line(tmp_path, path):
    with pytest.raises(StoreError, match="no feature store is there; run `spaceclip extract`"):
        FeatureCache.open(tmp_path / path)


def test_images_without_depth_say_so(make_store):
    path, _ = make_store(depth=None)
    cache = FeatureCache.open(path)
    assert not cache.has_depth
    with pytest.raises(StoreError, match="images without depth"):
        cache.depth(0)


def test_an_absent_view_or_layer_says_what_there_is(make_store):
    path, _ = make_store(views=("plain",))
    cache = FeatureCache.open(path)
    with pytest.raises(StoreError, match="no view 'flipped'; it holds plain"):
        cache.pooled([0], "flipped")
    with pytest.raises(StoreError, match="has no layers/7; it holds the hidden states 0, 3"):
        cache.states([0], layers=[7])


@pytest.mark.parametrize("local_copy", [False, True])
def test_it_is_pickled_for_workers_that_are_spawned(make_store, tmp_path, local_copy):
    path, _ = make_store()
    cache = FeatureCache.open(path, local_copy=tmp_path / "near" if local_copy else None)
    row = cache.states([3])[3]
    cache.depth(0)
    if local_copy:
        assert (pickle.loads(pickle.dumps(cache)).states([3])[3] == row).all()
        return
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.apply(cache.states, ([3],))[3] == row).all()


def _listed(folder):
    """Files below a folder that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(entry.readlink())
    return [path for path in found if path.is_relative_to(folder)]


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files")
def test_files_are_closed_when_nobody_has_the_store_any_more(make_store, no_collection, monkeypatch):
    path, _ = make_store()
    cache = FeatureCache.open(path)
    _read_all(cache)
    assert len(_listed(path)) > 10
    del cache
    assert _listed(path) == []


def test_a_file_that_was_let_go_is_checked_again_when_it_is_opened_again(make_store, make_block, monkeypatch):
    monkeypatch.setattr(shard, "OPEN_FILES", OpenFiles(2))
    path, spec = make_store()
    cache = FeatureCache.open(path)
    before = cache.states([0], layers=[3])[3]
    cache.states([4, 8], layers=[3])  # lets go of the first
    first, second = (path / f"layers/3/c/{number}/0/0/0" for number in (0, 1))
    shutil.copy(second, first)
    with pytest.raises(StoreError, match="row 0 is whole, but is not the one written here"):
        cache.states([0], layers=[3])
    StoreWriter(path, spec, cache.about).write(0, make_block(spec, 0))
    np.testing.assert_array_equal(cache.states([0], layers=[3])[3], before)


def test_threads_read_their_own_rows_while_files_come_and_go(make_store, make_block, monkeypatch):
    monkeypatch.setattr(shard, "OPEN_FILES", OpenFiles(1))
    path, spec = make_store()
    whole = np.concatenate([make_block(spec, number)["layers/3"] for number in range(3)])
    cache, rows = FeatureCache.open(path), np.random.default_rng(0).integers(0, 10, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: cache.states([row], layers=[3])[3][0], rows))
    np.testing.assert_array_equal(found, whole[rows, 0])


def test_where_no_more_files_can_be_opened_others_are_let_go(make_store, monkeypatch):
    path, _ = make_store()
    cache, real, held = FeatureCache.open(path), OpenFile.__init__, [0]

    def scarce(self, name):
        held[0] += 1
        if held[0] % 4 == 3:
            self._file = -1
            raise OSError(errno.EMFILE, "Too many open files")
        real(self, name)

    monkeypatch.setattr(OpenFile, "__init__", scarce)
    monkeypatch.setattr(shard, "OPEN_FILES", OpenFiles(100))
    _read_all(cache)
