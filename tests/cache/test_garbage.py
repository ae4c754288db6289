import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import zarr
from spaceclip.cache import (
    FeatureCache,
    Pointer,
    StoreError,
    StoreWriter,
    copy,
    find_garbage,
    locate,
    only_writer,
    place_at,
    remove,
    verify,
)
from spaceclip.cache.places import lease
from spaceclip.cache.upkeep import garbage


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty folder, for `folder` to be made in once."""
    return tmp_path_factory.mktemp("template") / "folder"


@pytest.fixture
def folder(template, make_store, tmp_path):
    """Two splits, of which `train` has been extracted anew with other settings."""
    if template.exists():
        return shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for name, layers in (("train-old", (0, 1)), ("train-new", (0, 3)), ("val-new", (0, 2))):
        path, spec = make_store(f"{name}.zarr", layers=layers)
        pointer = Pointer(path.name, spec.fingerprint, 10, FeatureCache.open(path).digest)
        pointer.write(tmp_path / f"{name.partition('-')[0]}.json")
    Pointer.absent().write(tmp_path / "test.json")
    shutil.copytree(tmp_path, template)
    return tmp_path


def _names(folder, *pointers):
    return [(found.path.name, found.kind) for found in find_garbage(folder, pointers)]


def test_only_what_no_pointer_means_is_garbage(folder):
    (found,) = find_garbage(folder)
    assert (found.path.name, found.kind, found.shards, found.total) == ("train-old.zarr", "unreferenced", 3, 3)
    assert found.bytes == sum(file.stat().st_size for file in (folder / "train-old.zarr").rglob("*") if file.is_file())


def test_removal_removes_that_and_nothing_else(folder, contents):
    kept = {name: content for name, content in contents(folder).items() if not name.startswith("train-old")}
    assert [remove(one, folder) for one in find_garbage(folder)] == [True]
    assert contents(folder) == kept
    assert not (folder / "train-old.zarr").exists()
    assert find_garbage(folder) == []


def test_a_store_that_a_pointer_means_by_now_is_kept(folder, contents):
    (found,) = find_garbage(folder)
    Pointer("train-old.zarr", "", 10, "").write(folder / "old.json")
    before = contents(folder)
    assert not remove(found, folder)
    assert contents(folder) == before


@pytest.mark.parametrize("where", ["../train-old.zarr", "{folder}/train-old.zarr", "../link/train-old.zarr"])
def test_a_pointer_may_lie_elsewhere_than_its_store(folder, where):
    (folder / "link").symlink_to(folder)
    (folder / "aside").mkdir()
    Pointer(where.format(folder=folder), "", 10, "").write(folder / "aside" / "train.json")
    assert find_garbage(folder) == []


def test_the_same_store_under_another_name_is_kept(folder):
    fingerprint = FeatureCache.open(folder / "train-old.zarr").fingerprint
    Pointer("s3://bucket/x.zarr", fingerprint, 10, "").write(folder / "far.json")
    assert find_garbage(folder) == []


def test_a_copy_is_not_kept_by_the_pointer_to_its_original(folder):
    shutil.copytree(folder / "val-new.zarr", folder / "copied" / "val-new.zarr")
    found = next(one for one in find_garbage(folder) if one.path == folder / "copied" / "val-new.zarr")
    assert found.kind == "unreferenced"
    shutil.rmtree(folder / "val-new.zarr")
    assert not remove(found, folder)  # the only one left
    assert (folder / "copied" / "val-new.zarr").is_dir()


class TestPointersElsewhere:
    @pytest.fixture
    def apart(self, folder):
        """Stores in one folder, their pointers in another."""
        (folder / "stores").mkdir()
        for store in sorted(folder.glob("*.zarr")):
            store.rename(folder / "stores" / store.name)
        (folder / "pointers").mkdir()
        for name in ("train.json", "val.json", "test.json"):
            told = json.loads((folder / name).read_text())
            pointer = Pointer(**{**told, "store": told["store"] and f"../stores/{told['store']}"})
            pointer.write(folder / "pointers" / name)
            (folder / name).unlink()
        return folder

    def test_without_any_pointer_nothing_is_taken_for_garbage(self, apart):
        with pytest.raises(StoreError, match=r"stores: holds stores and no pointer to any.*give the folder .*--point"):
            find_garbage(apart / "stores")

    def test_they_count_when_they_are_given(self, apart):
        assert _names(apart / "stores", apart / "pointers") == [("train-old.zarr", "unreferenced")]
        assert _names(apart) == [("train-old.zarr", "unreferenced")]

    @pytest.mark.parametrize("given", ["typo", "stores"])
    def test_a_folder_without_any_is_refused(self, apart, given):
        with pytest.raises(StoreError, match=rf"{given}: no pointer to a store is there"):
            find_garbage(apart / "stores", [apart / "pointers", apart / given])

    def test_they_are_looked_at_again_before_removal(self, apart):
        (found,) = find_garbage(apart / "stores", [apart / "pointers"])
        Pointer("../stores/train-old.zarr", "", 10, "").write(apart / "pointers" / "new.json")
        assert not remove(found, apart / "stores", [apart / "pointers"])
        shutil.rmtree(apart / "pointers")
        with pytest.raises(StoreError, match="no pointer"):
            remove(found, apart / "stores", [apart / "pointers"])
        assert (apart / "stores" / "train-old.zarr").exists()


@pytest.mark.parametrize(
    "elsewhere", ["features/other", ".dvc/tmp/exps/standalone/tmp1/features/mine", ".dvc/tmp/exps/tmp2/features/mine"]
)
def test_what_another_experiment_of_the_project_points_to_is_kept(folder, tmp_path_factory, monkeypatch, elsewhere):
    project = tmp_path_factory.mktemp("project")
    mine = shutil.copytree(folder, project / "features/mine")
    monkeypatch.chdir(project)
    (found,) = find_garbage(Path("features/mine"))
    shared = FeatureCache.open(found.path)
    other = project / elsewhere / "train.json"
    other.parent.mkdir(parents=True)
    Pointer("../mine/train-old.zarr", shared.fingerprint, len(shared), shared.digest).write(other)
    assert not remove(found, mine)
    assert find_garbage(Path("features/mine")) == find_garbage(mine) == []


def test_pointers_of_the_project_do_not_speak_for_stores_elsewhere(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("project"))
    Path("features").mkdir()
    Pointer("train-1.zarr", "1", 10, "").write(Path("features/train.json"))
    for pointer in folder.glob("*.json"):
        pointer.unlink()
    with pytest.raises(StoreError, match="no pointer to any"):
        find_garbage(folder)


class TestUnfinished:
    def test_a_store_that_lacks_shards_is_told_apart(self, make_store, folder):
        path, _ = make_store("train-begun.zarr", shards=[1], layers=(1, 2))
        found = next(one for one in find_garbage(folder) if one.path == path)
        assert (found.kind, found.shards, found.total) == ("unfinished", 1, 3)

    def test_it_needs_no_pointer_to_be_found(self, make_store, tmp_path):
        make_store("train-begun.zarr", shards=[])
        assert _names(tmp_path) == [("train-begun.zarr", "unfinished")]

    def test_it_is_kept_if_it_was_finished_meanwhile(self, make_store, folder):
        path, _ = make_store("train-begun.zarr", shards=[1], layers=(1, 2))
        found = next(one for one in find_garbage(folder) if one.path == path)
        make_store("train-begun.zarr", shards=[0, 2], layers=(1, 2))
        assert not remove(found, folder)
        assert FeatureCache.open(path)

    def test_a_damaged_description_may_hide_one(self, folder):
        (folder / "train-old.zarr" / "zarr.json").write_bytes(b"{")
        assert _names(folder) == [("train-old.zarr", "unfinished")]

    def test_a_creation_that_was_killed_is_partial(self, folder):
        (folder / "val-x.zarr").mkdir()
        (folder / "val-y.zarr" / "layers").mkdir(parents=True)
        (folder / "val-y.zarr" / "samples.jsonl").write_bytes(b"{}")
        (folder / "val-y.zarr" / ".zarr.json.0123456789ab").write_bytes(b"{}")
        found = _names(folder)
        assert found[1:] == [("val-x.zarr", "partial"), ("val-y.zarr", "partial")]
        assert all(remove(one, folder) for one in find_garbage(folder))
        assert sorted(path.name for path in folder.glob("*.zarr")) == ["train-new.zarr", "val-new.zarr"]


def test_stores_of_an_earlier_format_are_known(folder):
    file = folder / "train-old.zarr" / "zarr.json"
    told = json.loads(file.read_text())
    told["attributes"]["spaceclip"]["format"] = 1
    file.write_text(json.dumps(told))
    assert _names(folder) == [("train-old.zarr", "unreferenced")]


def test_what_others_keep_in_zarr_is_never_touched(folder):
    zarr.create_group(folder / "group.zarr", zarr_format=3)
    zarr.create_group(folder / "image.zarr", zarr_format=3).create_array("image", shape=(1,), dtype="u1")
    zarr.create_array(folder / "array.zarr", shape=(3,), dtype="f4")[:] = 1
    zarr.create_group(folder / "old.zarr", zarr_format=2)
    (folder / "mine.zarr").mkdir()
    (folder / "mine.zarr" / "notes.txt").write_text("mine")
    (folder / "zip.zarr").write_bytes(b"PK")
    assert _names(folder) == [("train-old.zarr", "unreferenced")]


NUMBER = b'{"store": 3, "fingerprint": "", "samples": 1, "ledger": ""}'
FLIPPED = b'{"store": "trbin-new.zarr", "fingerprint": "%s", "samples": 1, "ledger": ""}'


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"store": 3}', NUMBER, FLIPPED])
def test_damage_to_a_pointer_never_costs_its_store(make_store, tmp_path, damage):
    path, spec = make_store()
    path = path.rename(tmp_path / f"train-{spec.fingerprint}.zarr")
    Pointer("elsewhere.zarr", "", 1, "").write(tmp_path / "val.json")
    (tmp_path / "train.json").write_bytes(damage % spec.fingerprint.encode() if b"%s" in damage else damage)
    assert find_garbage(tmp_path) == []


def test_what_cannot_be_read_may_be_a_pointer(folder):
    (folder / "train.json").unlink()
    (folder / "train.json").mkdir()
    with pytest.raises(StoreError, match=r"train\.json: Is a directory; mend that"):
        find_garbage(folder)


def test_files_that_were_never_finished_go_after_an_hour(folder):
    stale = [folder / ".train.json.0123456789ab", folder / "val-new.zarr" / "ledger" / ".000000.json.0123456789ab"]
    young = [folder / ".val.json.0123456789ab", folder / "val-new.zarr" / "layers" / ".0.0123456789ab"]
    for file in (*stale, *young):
        file.write_bytes(b"half")
    for file in stale:
        os.utime(file, (0, time.time() - 4000))
    found = [one for one in find_garbage(folder) if one.kind == "partial"]
    assert {one.path for one in found} == set(stale)
    with only_writer(folder / "val-new.zarr"), pytest.raises(StoreError, match="is writing this store"):
        assert [remove(one, folder) for one in found]
    assert all(remove(one, folder) for one in found)
    assert [file.exists() for file in (*stale, *young)] == [False, False, True, True]


@pytest.mark.parametrize("where", ["", "val-new.zarr/ledger"])
@pytest.mark.parametrize("look", [1, 2, 3, 4])
def test_a_file_may_get_its_real_name_at_any_time(folder, monkeypatch, where, look):
    begun, looks, stat = folder / where / ".000009.json.0123456789ab", 0, Path.stat
    begun.write_bytes(b"whole")
    os.utime(begun, (0, 0))

    def rename_then_stat(path, **named):
        nonlocal looks
        looks += path == begun
        if path == begun and looks == look:
            path.rename(folder / where / "000009.json")
        return stat(path, **named)

    monkeypatch.setattr(Path, "stat", rename_then_stat)
    assert find_garbage(folder)[0].path.name == "train-old.zarr"
    assert looks


@pytest.mark.parametrize("looks", [0, 1, 2, 5])
def test_a_removal_ends_when_another_run_takes_the_store_over(folder, monkeypatch, looks):
    monkeypatch.setattr(garbage, "_BLOCK", 4)
    (found,) = find_garbage(folder)
    place, left = place_at(found.path), looks
    before = len(list(place.walk()))

    def taken():
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreError("another run has taken over")

    @contextmanager
    def held(_store):
        yield taken

    monkeypatch.setattr(garbage, "only_writer", held)
    with pytest.raises(StoreError, match="another run has taken over"):
        remove(found, folder)
    assert before - len(list(place.walk())) <= max(0, 1 + 4 * (looks - 1))


def test_a_store_that_is_being_written_is_kept(folder):
    (found,) = find_garbage(folder)
    with only_writer(found.path), pytest.raises(StoreError, match="is writing this store"):
        remove(found, folder)
    assert (folder / "train-old.zarr").exists()


def test_links_are_never_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (folder / "train-old.zarr").rename(outside / "train-old.zarr")
    (folder / "linked.zarr").symlink_to(outside / "train-old.zarr")
    (folder / "link").symlink_to(outside)
    assert find_garbage(folder) == []


def test_a_pointer_behind_a_link_keeps_its_store(folder, tmp_path_factory):
    apart = tmp_path_factory.mktemp("apart")
    (apart / "pointers").mkdir()
    (folder / "train-old.zarr").rename(folder / "train-older.zarr")  # neither its name nor its fingerprint is known
    for at, link in enumerate((folder / "experiment", folder / "deeper/loop", folder / "old.json")):
        assert _names(folder) == [("train-older.zarr", "unreferenced")]
        pointer = apart / "pointers" / f"old{at}.json"
        Pointer(os.path.relpath(folder / "train-older.zarr", pointer.parent), "", 10, "").write(pointer)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(pointer if link.suffix else pointer.parent)
        (apart / "pointers" / "back").symlink_to(folder)
        assert _names(folder) == []
        link.unlink()
        pointer.unlink()
        (apart / "pointers" / "back").unlink()


@pytest.mark.parametrize(
    "last", ["zarr.json", "ledger/000001.json", "ledger/000002.json", "c/0/0/0/0", "samples.jsonl"]
)
def test_a_removal_killed_at_any_time_leaves_what_the_next_takes_away(folder, contents, make_spec, make_block, last):
    whole = contents(folder / "train-old.zarr")
    script = f"""
import os, signal
from pathlib import Path
from spaceclip.cache import find_garbage, remove
real = Path.unlink
def deadly(path, **named):
    real(path, **named)
    if str(path).endswith({last!r}):
        os.kill(os.getpid(), signal.SIGKILL)
Path.unlink = deadly
folder = Path({str(folder)!r})
for found in find_garbage(folder):
    remove(found, folder)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    rest = folder / "train-old.zarr"
    with pytest.raises(StoreError):
        FeatureCache.open(rest)
    left = contents(rest)
    assert left.items() <= whole.items()
    if any(name.startswith("ledger") for name in left):  # What records vouch for is there.
        assert {name for name in whole if "/c/" in name} <= left.keys()
    # The same extraction makes it anew of what is left, as if nothing were.
    again = shutil.copytree(rest, folder / "again.zarr")
    writer = StoreWriter(again, make_spec(layers=(0, 1)), {"split": "train", "split_by": "scene"})
    for shard in writer.pending:
        writer.write(shard, make_block(writer.spec, shard))
    assert contents(again) == whole
    shutil.rmtree(again)
    (found,) = find_garbage(folder)
    assert found.kind == "partial"
    assert remove(found, folder)
    assert find_garbage(folder) == []
    assert not rest.exists()


@pytest.mark.parametrize("place", ["absent", "train-new.zarr", "train.json"])
def test_a_folder_of_stores_is_asked_for(folder, place):
    with pytest.raises(StoreError, match="a folder that holds stores was expected"):
        find_garbage(folder / place)


class TestBucket:
    @pytest.fixture
    def features(self, folder, s3):
        """Two splits as they should be, an older store deeper below, and a creation that was killed."""
        features = locate("s3://bucket/features")
        for name in ("train-new", "val-new"):
            copy(folder / f"{name}.zarr", features)
        copy(folder / "train-old.zarr", features / "deeper")
        place_at(features).delete("deeper/train.json")
        place_at(features).write("val-begun.zarr/samples.jsonl", b"{}")
        return features

    def test_garbage_goes_and_the_rest_stays(self, features):
        kept = {key for key, _ in place_at(features).walk() if not key.startswith(("deeper", "val-begun"))}
        found = find_garbage(features)
        told = sorted((one.path.name, one.kind, one.shards) for one in found)
        assert told == [("train-old.zarr", "unreferenced", 3), ("val-begun.zarr", "partial", 0)]
        assert [remove(one, features) for one in found] == [True, True]
        assert {key for key, _ in place_at(features).walk()} == kept
        assert verify(features / "train.json").problems == []

    def test_a_store_that_is_being_written_is_kept(self, features, monkeypatch):
        monkeypatch.setattr(lease, "RENEW", 0.05)
        monkeypatch.setattr(lease, "LOOK", 0.02)
        found = find_garbage(features)[0]
        with only_writer(found.path), pytest.raises(StoreError, match="is writing this store"):
            remove(found, features)

    def test_pointers_may_lie_on_this_machine(self, features, folder):
        for name in ("train.json", "val.json"):
            place_at(features).delete(name)
        with pytest.raises(StoreError, match="no pointer to any"):
            find_garbage(features)
        assert ("train-new.zarr", "unreferenced") not in _names(features, folder)
        assert ("train-old.zarr", "unreferenced") in _names(features, folder)

    def test_a_folder_of_stores_is_asked_for(self, features):
        for wrong in (features / "absent", features / "train-new.zarr"):
            with pytest.raises(StoreError, match="a folder that holds stores was expected"):
                find_garbage(wrong)
