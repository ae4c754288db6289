import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from spaceclip.cache import FeatureCache, Pointer, Problem, StoreError, StoreWriter, verify
from spaceclip.cache.errors import DamagedError
from spaceclip.cache.format.arrays import parts
from spaceclip.cache.format.ledger import Record, record_key
from spaceclip.cache.format.metadata import damaged_metadata, read_attributes
from spaceclip.cache.places.folder import Folder
from spaceclip.cache.places.place import Stored


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
        Problem("missing", 0, "layers/0/plain"),
        Problem("torn", 1, "pooled/plain"),
        Problem("altered", 2, "depth"),
    ]


def test_whole_chunks_in_the_wrong_place_are_found_though_their_checksums_agree(make_store):
    path, _ = make_store()
    shutil.copy(path / "layers/3/c/1/0/0/0", path / "layers/3/c/0/0/0/0")
    assert verify(path).problems == [Problem("altered", 0, "layers/3/plain")]


def test_shards_without_a_record_are_missing(make_store):
    path, _ = make_store(shards=[1])
    assert verify(path).problems == [Problem("missing", 0, None), Problem("missing", 2, None)]


def test_no_store_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="no feature store is there"):
        verify(tmp_path / "nothing")


def test_an_array_that_is_gone_or_has_torn_metadata_is_missing_in_every_shard(make_store):
    path, _ = make_store()
    shutil.rmtree(path / "layers/3")
    assert verify(path).problems == [
        Problem("missing", None, file="layers/3/zarr.json"),
        *(Problem("missing", shard, f"layers/3/{view}") for shard in range(3) for view in ("flipped", "plain")),
    ]
    other, _ = make_store("other.zarr")
    (other / "layers/3/zarr.json").write_text("{")
    assert verify(other, deep=True).problems == [Problem("altered", None, file="layers/3/zarr.json")]
    with pytest.raises(StoreError, match=r"layers/3/zarr\.json: damaged"):
        FeatureCache.open(other).states([0])


@pytest.mark.parametrize("content", [None, b"{", b'{"id": 1}\n'])
def test_a_torn_sample_list_is_one_clear_line(make_store, content):
    path, _ = make_store()
    (path / "samples.jsonl").unlink()
    if content:
        (path / "samples.jsonl").write_bytes(content)
    assert verify(path).problems == [Problem("altered" if content else "missing", None, file="samples.jsonl")]
    with pytest.raises(StoreError, match=r"samples\.jsonl: unreadable"):
        _ = FeatureCache.open(path).entries


FILES = {
    "layers": "layers/3/c/1/0/0/0",
    "pooled": "pooled/c/1/0/0",
    "image": "image/c/1/0/0/0",
    "depth": "depth/c/1/0/0",
    "ground truth": "ground_truth/c/1/0/0",
    "its size": "ground_truth_size/c/1/0",
    "record": "ledger/000001.json",
    "samples": "samples.jsonl",
    "group": "zarr.json",
    "group of layers": "layers/zarr.json",
    "array": "depth/zarr.json",
    "pointer": "../store.json",
}


@pytest.mark.parametrize("name", FILES)
def test_any_bit_and_any_cut_of_any_kind_of_file_is_found(make_store, name):
    path, spec = make_store("store-1.zarr")
    Pointer(path.name, spec.fingerprint, 10, FeatureCache.open(path).digest).write(path.parent / "store.json")
    assert verify(path).problems == []
    file = path / FILES[name]
    content = file.read_bytes()
    for at in np.random.default_rng(1).choice(_telling_bits(content), 20, replace=False):
        file.write_bytes(content[: at // 8] + bytes([content[at // 8] ^ 1 << at % 8]) + content[at // 8 + 1 :])
        assert _concerned(verify(path).problems[0]) == _concerned_by(FILES[name]), (at, file.read_bytes())
    for length in (0, 1, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        assert _concerned(verify(path).problems[0]) == _concerned_by(FILES[name]), length
    file.unlink()
    found = verify(path).problems
    assert bool(found) == (name != "pointer")  # Without one nothing claims that the store is anybody's.


def _telling_bits(content):
    """Those of all lines but the two of an array or a group of arrays that decide nothing."""
    told, start = [], 0
    for line in content.splitlines(keepends=True):
        if b'"attributes": {}' not in line and b'"storage_transformers"' not in line:
            told += range(8 * start, 8 * (start + len(line)))
        start += len(line)
    return told


def _concerned(problem):
    return problem.shard, problem.part or problem.file


def _concerned_by(file):
    array, is_object, _ = file.partition("/c/")
    view = "/plain" if is_object and array.startswith(("layers", "pooled")) else ""
    return (1 if is_object or file.startswith("ledger") else None), array + view


@pytest.mark.parametrize("name", ["zarr.json", "layers/zarr.json", "depth/zarr.json"])
def test_bits_all_over_the_metadata_count(make_store, name):
    path, _ = make_store()
    file = path / name
    content = file.read_bytes()
    attributes = read_attributes(Folder(path))
    assert attributes
    for at in _telling_bits(content)[:: 11 if name == "zarr.json" else 97]:
        file.write_bytes(content[: at // 8] + bytes([content[at // 8] ^ 1 << at % 8]) + content[at // 8 + 1 :])
        if name == "zarr.json":
            with pytest.raises(DamagedError):
                read_attributes(Folder(path))
        else:
            assert damaged_metadata(Folder(path), attributes) == {name: "altered"}


def _forge(path, spec, name, rows):
    """Write other rows into shard 0 of an array, and a ledger record that vouches for them."""
    array = zarr.open_group(path, mode="r+")[name]
    array[0:4] = rows  # pyright: ignore
    _vouch(path, spec, name)


def _vouch(path, spec, name):
    file = path / record_key(0)
    record = Record.from_json(file.read_bytes())
    rows = record.stop - record.start
    for part in (part for part, of in parts(spec).items() if of.array == name):
        content = (path / parts(spec)[part].key(0)).read_bytes()
        ends = np.frombuffer(content[-16 * spec.shard - 4 : -4], "<u8").reshape(-1, 2)[:rows].sum(axis=1)
        checksums = {part: "".join(content[end - 4 : end].hex() for end in ends.tolist())}
        record = record.plus(replace(record.only([]), objects={part: Stored.of(content)}, checksums=checksums))
    file.write_bytes(record.to_json())


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("layers/3", lambda rows: rows + 1, "other statistics (mean, min, max)"),
        ("layers/3", lambda rows: rows * np.inf, "not finite"),
        ("pooled", lambda rows: rows * np.nan, "not finite"),
    ],
)
def test_the_deep_check_finds_what_the_ledger_vouches_for(make_store, make_block, name, change, kind):
    path, spec = make_store()
    assert verify(path, deep=True).problems == []
    _forge(path, spec, name, change(make_block(spec, 0)[name]))
    assert verify(path).problems == []
    assert verify(path, deep=True).problems == [Problem(kind, 0, f"{name}/{view}") for view in ("flipped", "plain")]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, ""),
        ({"mean": 3e-5, "std": 3e-5}, ""),
        ({"mean": -3e-4}, "mean"),
        ({"std": 3e-4}, "std"),
        ({"min": 1e-12}, "min"),
        ({"zeros": 1 / 96, "max": -1e-12}, "max, zeros"),
        ({"median": 1}, "median"),
    ],
)
@pytest.mark.parametrize("shift", [0, 100])
def test_sums_may_be_rounded_as_another_device_does_and_nothing_else_may_differ(
    make_store, make_block, change, named, shift
):
    path, spec = make_store()
    block = make_block(spec, 0)
    block["layers/3"] += np.float16(shift)
    StoreWriter(path, spec, {}).write(0, block)
    file = path / record_key(0)
    record = Record.from_json(file.read_bytes())
    told = dict(record.statistics["layers/3/plain"])
    scale, deviation = np.hypot(told["mean"], told["std"]), told["std"]
    for name, by in change.items():
        told[name] = told.get(name, 0) + by * scale * (scale / deviation if name == "std" else 1)
    forged = {**record.statistics, "layers/3/plain": told}
    file.write_bytes(replace(record, statistics=forged).to_json())
    problem = Problem(f"other statistics ({named})", 0, "layers/3/plain")
    assert verify(path, deep=True).problems == ([problem] if named else [])


def test_the_deep_check_decodes_every_chunk(make_store):
    path, spec = make_store()
    file = path / "image/c/0/0/0/0"
    content = file.read_bytes()
    file.write_bytes(content[:300] + bytes([content[300] ^ 1]) + content[301:])
    _vouch(path, spec, "image")
    assert verify(path).problems == []
    assert verify(path, deep=True).problems == [Problem("undecodable", 0, "image")]


def test_a_folder_of_something_else_is_no_damaged_store(tmp_path):
    (tmp_path / "zarr.json").write_text('{"attributes": {}, "zarr_format": 3, "node_type": "group"}')
    with pytest.raises(StoreError, match="no feature store; give another path"):
        verify(tmp_path)
