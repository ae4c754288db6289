"""How fast a store's features were computed, kept beside it."""

from dataclasses import replace

import pytest
from spaceclip.cache import EncoderRate, Pointer, copy, find_garbage, remove

RATE = EncoderRate(120, 8.0, "cpu", "float32")


def test_runs_of_one_kind_add_up_and_another_kind_replaces_them(tmp_path):
    store = tmp_path / "train-1.zarr"
    assert EncoderRate.read(store) is None
    RATE.add_to(store)
    assert EncoderRate.read(store) == RATE
    assert RATE.images_per_second == 15
    replace(RATE, images=40, seconds=2.0).add_to(store)
    assert EncoderRate.read(store) == replace(RATE, images=160, seconds=10.0)
    faster = EncoderRate(40, 0.1, "cuda sm_90", "bfloat16")
    faster.add_to(store)
    assert EncoderRate.read(store) == faster


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"{}", b'{"images": 1, "seconds": 0, "device": "", "precision": ""}', b'{"images": "1"}'],
)
def test_a_damaged_file_is_none(tmp_path, content):
    (tmp_path / "train-1.rate").write_bytes(content)
    assert EncoderRate.read(tmp_path / "train-1.zarr") is None


def test_a_copy_takes_it_along_and_what_removes_the_store_removes_it(make_store, tmp_path):
    store, _ = make_store("train-1.zarr")
    RATE.write(store)
    copied = copy(store, tmp_path / "far")
    assert EncoderRate.read(copied.store) == RATE
    Pointer.absent().write(tmp_path / "far" / "train.json")  # nothing means the copy any more
    (found,) = find_garbage(tmp_path / "far", [make_pointer(make_store)])
    assert remove(found, tmp_path / "far", [tmp_path])
    assert [file.name for file in (tmp_path / "far").iterdir()] == ["train.json"]
    assert EncoderRate.read(store) == RATE


def make_pointer(make_store):
    """A folder with a pointer to another store."""
    path, spec = make_store("val-1.zarr", seed=1)
    Pointer.to(path, path.parent / "val.json", spec.fingerprint, 10, "").write(path.parent / "val.json")
    return path.parent
