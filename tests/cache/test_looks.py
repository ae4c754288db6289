"""Looks at a test split, counted beside its store."""

import json
import threading
from pathlib import Path

from spaceclip.cache import Look, Looks, Pointer, copy, count_looks, find_garbage, locate, note_looks, remove

FIRST = Look("checkpoint", "a" * 64, "controlled protocol: no crop", "results/one")
OTHER = Look("checkpoint", "b" * 64, FIRST.protocol, "results/two")
TWICE = Look("checkpoint", "a" * 64, "paper protocol: no crop", "results/one")
MAPS = Look("maps", "c" * 64, FIRST.protocol, "results/maps")
PROBES = Look("probes", "d" * 64, "mean depth of patches", "results/probe")


def test_the_same_weights_under_the_same_protocol_are_one_look(tmp_path):
    store = tmp_path / "test-1.zarr"
    assert str(count_looks(store)) == "test split not looked at by then"
    again = Look("checkpoint", "a" * 64, FIRST.protocol, "results/elsewhere")
    assert note_looks([FIRST], store) == note_looks([again], store) == Looks(1, 1)
    assert str(count_looks(store)) == "test split looked at once by then, by 1 checkpoint"
    assert note_looks([OTHER, TWICE], store) == Looks(3, 2)
    assert str(count_looks(store)) == "test split looked at 3 times by then, by 2 checkpoints"
    assert str(note_looks([MAPS], store)).endswith("looked at 4 times by then, by 2 checkpoints and 1 set of maps")


def test_a_split_of_several_stores_has_one_count(tmp_path):
    stores = (tmp_path / "test-1.zarr", tmp_path / "test-2.zarr")
    note_looks([FIRST], *stores[:1])
    found = note_looks([PROBES], *stores)
    assert found == count_looks(*stores) == Looks(2, 1, 0, 1)
    assert str(found) == "test split looked at 2 times by then, by 1 checkpoint and 1 set of probes"
    assert count_looks(stores[1]) == Looks(1, probes=1)


def test_what_was_noted_says_when_and_by_what(tmp_path):
    note_looks([FIRST], tmp_path / "test-1.zarr")
    noted = json.loads((tmp_path / "test-1.looks" / FIRST.key).read_bytes())
    assert (noted["sha256"], noted["protocol"], noted["by"]) == (FIRST.sha256, FIRST.protocol, "results/one")
    assert noted["at"].endswith("+00:00")


def test_many_at_once_lose_none(tmp_path):
    looks = [Look("checkpoint", f"{number:064x}"[::-1], FIRST.protocol, "") for number in range(24)]
    threads = [threading.Thread(target=note_looks, args=(looks[at:] + looks[:at], tmp_path / "test-1.zarr"))
               for at in range(0, 24, 6)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_looks(tmp_path / "test-1.zarr") == Looks(24, 24)


def test_one_that_is_damaged_or_was_never_finished(tmp_path):
    note_looks([FIRST], tmp_path / "test-1.zarr")
    (tmp_path / "test-1.looks" / FIRST.key).write_bytes(b'{"kind": "ch')
    (tmp_path / "test-1.looks" / f".{OTHER.key}.0123456789ab").write_bytes(b"{")
    (tmp_path / "test-1.looks" / "notes.txt").write_bytes(b"of the user")
    assert count_looks(tmp_path / "test-1.zarr") == Looks(1, 1)


def test_a_place_that_cannot_be_written_to_is_said(tmp_path, monkeypatch):
    note_looks([FIRST], tmp_path / "test-1.zarr")

    def refuse(*_given):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("spaceclip.cache.places.folder.write_atomically", refuse)
    assert note_looks([FIRST], tmp_path / "test-1.zarr") == Looks(1, 1)  # known already
    found = note_looks([OTHER], tmp_path / "test-1.zarr")
    assert str(found) == f"looks at the test split are not counted ({tmp_path}/test-1.looks: Read-only file system)"


def test_all_names_of_a_store_have_one_count(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "test-1.zarr").mkdir()
    (tmp_path / "test-2.zarr").symlink_to("test-1.zarr")
    note_looks([FIRST], tmp_path / "link/test-1.zarr")
    assert count_looks(tmp_path / "test-2.zarr") == Looks(1, 1)


def test_a_copy_takes_them_along_and_what_removes_the_store_removes_them(make_store, tmp_path, contents):
    store, _ = make_store("test-1.zarr")
    note_looks([FIRST], store)
    far = tmp_path / "far"
    assert copy(store, far).looks == Looks(1, 1)
    note_looks([OTHER], far / "test-1.zarr")
    note_looks([TWICE], store)
    assert copy(store, far).looks == Looks(3, 2)
    assert count_looks(store) == Looks(2, 1)
    used, spec = make_store("val-1.zarr", seed=1)
    Pointer.to(used, tmp_path / "val.json", spec.fingerprint, 10, "").write(tmp_path / "val.json")
    before = contents(store)
    Pointer.absent().write(far / "test.json")  # nothing means the copy any more
    (found,) = find_garbage(far, [tmp_path])
    assert remove(found, far, [tmp_path])
    assert [file.name for file in far.iterdir()] == ["test.json"]
    assert contents(store) == before
    assert count_looks(store) == Looks(2, 1)


def test_a_store_in_a_bucket(s3, make_store):
    store, _ = make_store("test-1.zarr")
    note_looks([FIRST], store)
    far = locate("s3://bucket/features")
    assert copy(store, far).looks == Looks(1, 1)
    assert note_looks([FIRST, MAPS], far / "test-1.zarr") == Looks(2, 1, 1)
    used, spec = make_store("val-1.zarr", count=6)
    pointers = Path(used.parent)
    Pointer.to(used, pointers / "val.json", spec.fingerprint, 10, "").write(pointers / "val.json")
    Pointer.absent().write(far / "test.json")
    (found,) = find_garbage(far, [pointers])
    assert remove(found, far, [pointers])
    assert count_looks(far / "test-1.zarr") == Looks()
