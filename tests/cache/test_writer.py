import hashlib
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import example, given
from hypothesis import strategies as st
from spaceclip.cache import Entry, FeatureCache, Quarantined, StoreError, StoreWriter, entries_digest, verify
from spaceclip.cache.format.metadata import sample_list


@given(st.lists(st.tuples(st.text(), st.none() | st.text(), st.text()), max_size=5))
@example([('a\udcff/"b\\', None, "\u2028\n"), ("", "", "\x7f\U0001f600")])
def test_the_list_of_samples_is_written_and_hashed_as_json_writes_it(fields):
    entries = [Entry(*one) for one in fields]
    lines = [json.dumps({"id": one.id, "scene": one.scene, "stamp": one.stamp}) for one in entries]
    assert sample_list(entries) == "\n".join(lines).encode() + b"\n"
    hashed = "".join(json.dumps([one.id, one.scene, one.stamp]) + "\n" for one in entries)
    assert entries_digest(entries) == hashlib.sha256(hashed.encode()).hexdigest()


def test_zarr_itself_reads_back_what_was_written(make_store, make_block):
    path, spec = make_store()
    group = zarr.open_group(path, mode="r")
    for shard in range(spec.shards):
        start, stop = spec.rows(shard)
        for name, rows in make_block(spec, shard).items():
            np.testing.assert_array_equal(np.asarray(group[name][start:stop]), rows)  # pyright: ignore


def test_one_chunk_holds_one_sample_and_view_and_one_shard_whole_images(make_store):
    path, spec = make_store()
    array = zarr.open_group(path, mode="r")["layers/3"]
    assert isinstance(array, zarr.Array)
    assert array.chunks == (1, 1, 4, 6)
    assert array.shards == (spec.shard, 1, 4, 6)


def test_doing_a_shard_twice_gives_the_same_bytes_and_record(make_store, make_block, contents):
    path, spec = make_store()
    before = contents(path)
    StoreWriter(path, spec, {}).write(1, make_block(spec, 1))
    assert contents(path) == before


def test_rows_of_zeros_are_written_like_any_other(make_store, make_block):
    path, spec = make_store(shards=[])
    writer = StoreWriter(path, spec, {})
    for shard in writer.pending:
        writer.write(shard, {name: np.zeros_like(rows) for name, rows in make_block(spec, shard).items()})
    cache = FeatureCache.open(path)
    assert verify(path).problems == []
    assert not cache.depth(3).any()
    assert not cache.states([3], "flipped")[0].any()


def test_only_shards_without_a_record_are_pending(make_store):
    path, spec = make_store(shards=[1])
    assert StoreWriter(path, spec, {}).pending == [0, 2]


def test_one_who_knows_what_is_committed_reads_no_record(make_store, make_block, contents):
    path, spec = make_store()
    whole = contents(path)
    (path / "ledger" / "000001.json").write_bytes(b"torn")
    writer = StoreWriter(path, spec, {}, records={})
    assert writer.pending == [0, 1, 2]
    writer.write(1, make_block(spec, 1))
    assert contents(path) == whole


def test_a_store_is_opened_without_loading_dask(make_store):
    script = "import sys, spaceclip.cache.writer; sys.exit('dask' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_kept_parts_of_a_sample_that_is_bad_now_are_written_anew_beside_their_links(make_store, make_block, contents):
    path, spec = make_store(shards=[0])
    record, block = FeatureCache.open(path, allow_incomplete=True).records[0], make_block(spec, 0)
    linked = path.parent / "another's"
    linked.hardlink_to(path / "layers/3/c/0/1/0/0")
    before = linked.read_bytes()
    kept = replace(record, objects={name: at for name, at in record.objects.items() if name != "pooled/plain"})
    for array in block:
        block[array][1] = 0
        if array != "pooled":
            block[array][2:] = 99  # not looked at
    StoreWriter(path, spec, {}).write(0, block, [Quarantined(1, "room/1", "gone")], kept)
    cache, sound = FeatureCache.open(path, allow_incomplete=True), make_block(spec, 0)
    states = sound["layers/3"][:, 1]
    np.testing.assert_array_equal(cache.states([0, 2, 3], "flipped")[3], states[[0, 2, 3]])
    assert not cache.states([1], "flipped")[3].any()
    assert cache.records[0].statistics["layers/3/flipped"]["max"] == states[[0, 2, 3]].max()
    assert linked.read_bytes() == before
    assert {problem.kind for problem in verify(path, deep=True).problems} == {"missing"}


def test_a_shard_left_without_its_record_is_written_anew(make_store, make_block, contents):
    path, spec = make_store()
    whole = contents(path)
    (path / "ledger" / "000002.json").unlink()
    (path / "layers/0/c/2/0/0/0").write_bytes(b"torn by a power cut")
    writer = StoreWriter(path, spec, {})
    for shard in writer.pending:
        writer.write(shard, make_block(spec, shard))
    assert contents(path) == whole


@pytest.mark.parametrize("wrong", [np.zeros((3, 2, 4, 6), np.float16), np.zeros((4, 2, 4, 6), np.float32)])
def test_anything_but_a_whole_shard_of_the_right_type_is_refused(make_store, make_block, wrong):
    path, spec = make_store(shards=[])
    writer = StoreWriter(path, spec, {})
    with pytest.raises(StoreError, match="layers/0: a whole shard"):
        writer.write(0, make_block(spec, 0) | {"layers/0": wrong})
    assert writer.pending == [0, 1, 2]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_features_beyond_float16_are_counted_and_never_stored(make_store, make_block, contents, bad):
    path, spec = make_store(shards=[0])
    before = contents(path)
    block = make_block(spec, 1)
    block["layers/3"][2, 1, 0, 0] = bad
    block["layers/3"][3, 1, 0, 0] = bad
    with pytest.raises(StoreError, match=r"layers/3/flipped: 2 of 96 values do not fit float16 \(first at row 6\)"):
        StoreWriter(path, spec, {}).write(1, block)
    after = contents(path)
    assert after.keys() - before.keys() <= {name for name in after if "/c/1/" in name and name != "layers/3/c/1/1/0/0"}
    assert not (path / "ledger/000001.json").exists()


def test_a_pooled_vector_that_is_not_finite_is_never_stored(make_store, make_block):
    path, spec = make_store(shards=[])
    block = make_block(spec, 0)
    block["pooled"][1, 0, 2] = np.nan
    writer = StoreWriter(path, spec, {})
    with pytest.raises(StoreError, match="pooled/plain: shard 0 holds values that are not finite"):
        writer.write(0, block)
    assert writer.pending == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"backbone": {"name": "tiny", "revision": "xyz", "weights": "123", "precision": "float32"}}, "revision"),
        ({"layers": (0, 2)}, "layers"),
        ({"views": ("plain",)}, "views"),
        ({"depth": None}, "depth"),
        ({"entries": [Entry(f"room/{i}", f"room{i // 4}", "2") for i in range(10)]}, "samples.sha256"),
        ({"preprocessing": {"target_size": (5, 8), "mean": (0.5, 0.5, 0.5)}}, "preprocessing.target_size"),
    ],
)
def test_other_settings_have_another_fingerprint_and_are_refused_by_field(make_store, make_spec, changes, field):
    path, spec = make_store()
    other = make_spec(**changes)
    assert other.fingerprint != spec.fingerprint
    with pytest.raises(StoreError, match=rf"made with other settings: [\w.]*{field} is .* there, .* is wanted"):
        StoreWriter(path, other, {})


def test_where_sizes_differ_the_option_of_extraction_is_named(make_store, make_spec):
    path, _ = make_store()
    other = make_spec(preprocessing={"target_size": (5, 8), "mean": (0.5, 0.5, 0.5)})
    with pytest.raises(StoreError, match=r"extract with the wanted settings \(--size 5 8\), or ask"):
        StoreWriter(path, other, {})


@pytest.mark.parametrize("description", [b"{", b""])
def test_a_description_damaged_before_the_first_record_is_written_anew(make_store, contents, description):
    path, spec = make_store(shards=[])
    whole = contents(path)
    (path / "zarr.json").write_bytes(description)
    StoreWriter(path, spec, {"split": "train", "split_by": "scene"})
    assert contents(path) == whole


def test_a_damaged_description_of_other_samples_is_left_alone(make_store, make_spec, contents):
    path, _ = make_store(shards=[])
    (path / "zarr.json").write_bytes(b"{")
    before = contents(path)
    with pytest.raises(StoreError, match="not the metadata of a Zarr group"):
        StoreWriter(path, make_spec(count=9), {})
    assert contents(path) == before


def test_a_folder_that_is_no_store_is_left_alone(tmp_path, make_spec, contents):
    folder = tmp_path / "photos"
    (folder / "image").mkdir(parents=True)
    (folder / "image" / "holiday.jpg").write_bytes(b"precious")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="is no feature store"):
        StoreWriter(folder, make_spec(), {})
    assert contents(tmp_path) == before


def test_statistics_of_a_record_agree_with_float64(make_store, make_block):
    path, spec = make_store()
    rows = make_block(spec, 1)["layers/3"][:, 1].astype(np.float64)
    found = StoreWriter(path, spec, {}).records[1].statistics["layers/3/flipped"]
    assert found["mean"] == pytest.approx(rows.mean(), abs=1e-6)
    assert found["std"] == pytest.approx(rows.std(), rel=1e-5)
    assert (found["min"], found["max"]) == (rows.min(), rows.max())
    assert found["zeros"] == (rows == 0).mean()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of file sizes are a Unix thing")
def test_no_space_is_one_clear_line_and_the_store_goes_on_later(tmp_path, make_store, make_spec, make_block, contents):
    path, spec = make_store("undisturbed.zarr", count=300, shard=100)
    whole = contents(path)
    script = f"""
        import resource, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import block_of, spec_of
        from spaceclip.cache import StoreError, StoreWriter
        from pathlib import Path
        spec = spec_of(count=300, shard=100)
        writer = StoreWriter(Path({str(tmp_path / "full.zarr")!r}), spec, {{"split": "train", "split_by": "scene"}})
        writer.write(0, block_of(spec, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            writer.write(1, block_of(spec, 1))
        except StoreError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert "shard 1 could not be written (File too large); the 1 shard committed so far is safe" in done.stdout
    assert done.stdout.count("\n") == 1
    writer = StoreWriter(tmp_path / "full.zarr", spec, {})
    assert writer.pending == [1, 2]
    for shard in writer.pending:
        writer.write(shard, make_block(spec, shard))
    assert contents(tmp_path / "full.zarr") == whole
