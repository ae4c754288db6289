import os
import subprocess
import sys

import pytest
from spaceclip.cache import FeatureCache, Pointer, StoreError, find_garbage, only_writer, remove


@pytest.fixture
def folder(make_store, tmp_path):
    """Two splits, of which `train` has been extracted anew with other settings."""
    for name, layers in (("train-old", (0, 1)), ("train-new", (0, 3)), ("val-new", (0, 2))):
        path, spec = make_store(f"{name}.zarr", layers=layers)
        pointer = Pointer(path.name, spec.fingerprint, 10, FeatureCache.open(path).digest)
        pointer.write(tmp_path / f"{name.partition('-')[0]}.json")
    Pointer.absent().write(tmp_path / "test.json")
    return tmp_path


def _names(folder):
    return [(found.path.name, found.kind) for found in find_garbage(folder)]


def test_only_what_no_pointer_means_is_garbage(folder):
    (found,) = find_garbage(folder)
    assert (found.path.name, found.kind, found.shards, found.total) == ("train-old.zarr", "unreferred", 3, 3)
    assert found.bytes == sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())


def test_removal_removes_that_and_nothing_else(folder, contents):
    kept = {name: content for name, content in contents(folder).items() if not name.startswith("train-old")}
    assert [remove(one, folder) for one in find_garbage(folder)] == [True]
    assert contents(folder) == kept
    assert find_garbage(folder) == []


def test_a_store_that_a_pointer_means_by_now_is_kept(folder, contents):
    (found,) = find_garbage(folder)
    Pointer("train-old.zarr", "", 10, "").write(folder / "old.json")
    before = contents(folder)
    assert not remove(found, folder)
    assert contents(folder) == before


FLIPPED = b'{"store": "trbin-new.zarr", "fingerprint": "%s", "samples": 1, "ledger": ""}'


@pytest.mark.parametrize("damage", [b"", b"{", FLIPPED])
def test_damage_to_a_pointer_never_costs_its_store(make_store, tmp_path, damage):
    path, spec = make_store()
    path = path.rename(tmp_path / f"train-{spec.fingerprint}.zarr")
    (tmp_path / "train.json").write_bytes(damage % spec.fingerprint.encode() if b"%s" in damage else damage)
    assert find_garbage(tmp_path) == []


def test_what_dead_processes_left_goes_and_what_live_ones_make_stays(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (folder / f".val-x.zarr.{process}").mkdir()
    assert (f".val-x.zarr.{dead.pid}", "partial") in _names(folder)
    assert len(_names(folder)) == 2


def test_a_store_that_is_being_written_is_kept(folder):
    (found,) = find_garbage(folder)
    with only_writer(found.path), pytest.raises(StoreError, match="is writing this store"):
        remove(found, folder)
    assert found.path.exists()


def test_links_are_never_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (folder / "train-old.zarr").rename(outside / "train-old.zarr")
    (folder / "linked.zarr").symlink_to(outside / "train-old.zarr")
    (folder / "link").symlink_to(outside)
    assert find_garbage(folder) == []


def test_a_killed_removal_leaves_nothing_that_looks_like_a_store(folder):
    script = f"""
import os, shutil, signal
from pathlib import Path
from spaceclip.cache import find_garbage, garbage, remove
real = os.unlink
def deadly(*arguments, **named):
    real(*arguments, **named)
    if str(arguments[0]).endswith("zarr.json"):
        os.kill(os.getpid(), signal.SIGKILL)
os.unlink = deadly
folder = Path({str(folder)!r})
for found in find_garbage(folder):
    remove(found, folder)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert not (folder / "train-old.zarr").exists()
    (left,) = find_garbage(folder)
    assert left.kind == "partial"
    assert remove(left, folder)
    assert find_garbage(folder) == []


@pytest.mark.parametrize("place", ["absent", "train-new.zarr"])
def test_a_folder_of_stores_is_asked_for(folder, place):
    with pytest.raises(StoreError, match="a folder that holds stores was expected"):
        find_garbage(folder / place)
