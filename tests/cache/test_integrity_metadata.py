"""What counts in an array's `zarr.json` is what decides how bytes are read, for the reader and for verify alike."""

import hashlib
import json

import pytest
from spaceclip.cache import FeatureCache, Problem, StoreError, copy, repair, verify

ARRAY = "ground_truth/zarr.json"


def _changed(path, change, key=ARRAY):
    file = path / key
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))


def _sharding(content):
    return content["codecs"][0]["configuration"]


MISLEADING = {
    "format": lambda told: told.update(zarr_format=2),
    "kind": lambda told: told.update(node_type="group"),
    "shape": lambda told: told["shape"].append(1),
    "type": lambda told: told.update(data_type="int32"),
    "grid": lambda told: told["chunk_grid"].update(name="rectilinear"),
    "shard": lambda told: told["chunk_grid"]["configuration"].update(chunk_shape=[8, 5, 7]),
    "keys": lambda told: told["chunk_key_encoding"]["configuration"].update(separator="."),
    "fill": lambda told: told.update(fill_value=1),
    "chunk": lambda told: _sharding(told).update(chunk_shape=[2, 5, 7]),
    "index place": lambda told: _sharding(told).update(index_location="start"),
    "index codecs": lambda told: _sharding(told)["index_codecs"].pop(),
    "byte order": lambda told: _sharding(told)["codecs"][0]["configuration"].update(endian="big"),
    "order of codecs": lambda told: _sharding(told)["codecs"].reverse(),
    "another codec": lambda told: told["codecs"].append({"name": "gzip"}),
    "no codecs": lambda told: told.pop("codecs"),
}


@pytest.mark.parametrize("field", MISLEADING)
def test_a_field_that_would_have_bytes_misread_is_refused_by_all(make_store, field):
    path, _ = make_store()
    _changed(path, MISLEADING[field])
    with pytest.raises(StoreError, match=r"ground_truth/zarr\.json: damaged .not what the store's identity asks for"):
        FeatureCache.open(path).ground_truth(0)
    assert verify(path).problems == [Problem("altered", None, file=ARRAY)]
    assert repair(path).rewritten == [ARRAY]
    assert FeatureCache.open(path).ground_truth(0).any()


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", None])
def test_what_is_no_metadata_is_refused_by_all(make_store, content):
    path, _ = make_store()
    file = path / ARRAY
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(StoreError, match=r"ground_truth/zarr\.json: damaged .*run `spaceclip cache repair`"):
        FeatureCache.open(path).ground_truth(0)
    assert verify(path).problems == [Problem("missing" if content is None else "altered", None, file=ARRAY)]


def test_what_another_version_of_zarr_writes_more_is_no_damage(make_store, tmp_path, contents):
    path, _ = make_store()

    def more(content):
        content.update(dimension_names=None, new_default={"must_understand": False})
        content.pop("storage_transformers")
        _sharding(content)["new_default"] = 1
        _sharding(content)["codecs"][1]["configuration"]["numthreads"] = 1

    _changed(path, more)
    _changed(path, lambda content: content.update(consolidated_metadata=None), "layers/zarr.json")
    before = contents(path)
    assert FeatureCache.open(path).ground_truth(0).any()
    assert verify(path, deep=True).problems == []
    assert repair(path).rewritten == []
    assert contents(path) == before
    assert copy(path, tmp_path / "out").shards == 3


@pytest.mark.parametrize("file", ["zarr.json", ARRAY, "samples.jsonl", "ledger/000000.json"])
def test_nesting_without_end_is_one_clear_line(make_store, file):
    path, _ = make_store()
    nested = b'{"fingerprint":' + b"[" * 100_000
    seal = hashlib.sha256(nested + b"\n}").hexdigest().encode()
    (path / file).write_bytes(nested + (b',\n"sha256":"' + seal + b'"\n}' if "ledger" in file else b""))
    with pytest.raises(StoreError, match=f"{file}: "):
        _ = FeatureCache.open(path).ground_truth(0), FeatureCache.open(path).entries
    assert verify(path).problems[0].file == file


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
def test_a_store_of_another_format_is_one_line_and_todays_is_made_beside_it(make_store, tmp_path, number):
    path, spec = make_store()

    def change(content):
        fields = content["attributes"]["spaceclip"]
        fields["format"] = number
        del fields["sha256"]
        if number > 1:
            fields["sha256"] = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    _changed(path, change, "zarr.json")
    line = f"store.zarr: a store of format {number}, this version reads 5; run the same `spaceclip extract`"
    for use in (FeatureCache.open, verify, repair, lambda path: copy(path, tmp_path / "out")):
        with pytest.raises(StoreError, match=line):
            use(path)
    identity = json.dumps(spec.identity, sort_keys=True, separators=(",", ":"))
    assert spec.fingerprint != hashlib.sha256(identity.encode()).hexdigest()[:12]  # as format 2 had it
