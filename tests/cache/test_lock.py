"""One writer for a store in a folder, and what is swept up before it begins."""

import errno
import os
import subprocess
import sys
import textwrap

import pytest
from spaceclip.cache import FeatureCache, StoreError, StoreWriter, only_writer, verify
from spaceclip.cache.places.folder import is_begun, write_atomically

BEGUN = ".0.0123456789ab"


class TestSweep:
    def test_what_a_worker_of_a_killed_run_has_written_is_still_there_when_it_is_recorded(
        self, make_store, make_block, tmp_path
    ):
        path, spec = make_store(shards=[0, 2])
        orphan = StoreWriter(path, spec, {}, still_ours=lambda: StoreWriter(path, spec, {}).sweep())
        orphan.write(1, make_block(spec, 1))
        assert len(FeatureCache.open(path)) == 10
        assert verify(path).problems == []

    @pytest.mark.parametrize(
        "folder", ["", "ledger", "layers", "layers/0", "depth", "image/c/1", "layers/0/c/1/0", "layers/3/c/1/0/0/0"]
    )
    def test_files_that_were_begun_go_wherever_they_lie(self, make_store, contents, folder):
        path, spec = make_store(shards=[0])
        before = contents(path)
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / BEGUN).write_bytes(b"half")
        StoreWriter(path, spec, {}).sweep()
        assert contents(path) == before

    def test_committed_shards_are_looked_at_only_where_asked(self, make_store):
        path, spec = make_store()
        (path / "image/c/1/0/0" / BEGUN).write_bytes(b"half")
        StoreWriter(path, spec, {}).sweep()
        assert (path / "image/c/1/0/0" / BEGUN).exists()
        StoreWriter(path, spec, {}).sweep([1])
        assert not (path / "image/c/1/0/0" / BEGUN).exists()

    @pytest.mark.parametrize("name", [".nfs00000a1b", ".DS_Store", "._zarr.json", ".zarr.json.swp", "0.0123456789ab"])
    def test_what_others_put_there_stays(self, make_store, name):
        path, spec = make_store(shards=[0])
        for folder in (path, path / "ledger", path / "image"):
            (folder / name).write_bytes(b"of others")
        StoreWriter(path, spec, {}).sweep()
        assert all((folder / name).exists() for folder in (path, path / "ledger", path / "image"))


def test_a_file_is_known_as_begun_until_it_is_whole(tmp_path, monkeypatch):
    def cut(_file):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "000001.json", b"whole")
    (begun,) = tmp_path.iterdir()
    assert is_begun(begun.name)
    assert not is_begun("000001.json")


class TestOnlyWriter:
    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / "disk/train.zarr").mkdir(parents=True)
        (tmp_path / "features").symlink_to("disk")
        (tmp_path / "link.zarr").symlink_to("disk/train.zarr")
        return tmp_path / "disk/train.zarr"

    @pytest.mark.parametrize("name", ["features/train.zarr", "link.zarr", "disk/../link.zarr"])
    def test_a_store_has_one_lock_whatever_it_is_called(self, store, tmp_path, name):
        with only_writer(store), pytest.raises(StoreError, match=rf"{name}: process {os.getpid()} on .* is writing"):
            only_writer(tmp_path / name).__enter__()
        with only_writer(tmp_path / name), pytest.raises(StoreError, match=rf"process {os.getpid()} on"):
            only_writer(store).__enter__()
        assert sorted(file.name for file in store.parent.iterdir()) == ["train.zarr"]

    def test_the_folder_one_is_in_is_held_too(self, store, monkeypatch):
        monkeypatch.chdir(store)
        with only_writer(type(store)(".")), pytest.raises(StoreError, match="is writing this store"):
            only_writer(store).__enter__()

    def test_a_link_to_a_disk_that_is_not_there_makes_nothing(self, tmp_path):
        (tmp_path / "store.zarr").symlink_to(tmp_path / "disk/store.zarr")
        with pytest.raises(StoreError, match="cannot be written to"):
            only_writer(tmp_path / "store.zarr").__enter__()
        assert not (tmp_path / "disk").exists()


class TestWithoutLocks:
    """As on Lustre mounted without `flock`, or NFS without its lock daemon."""

    @pytest.fixture(autouse=True, params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
    def lockless(self, request, monkeypatch):
        def refuse(_file, _how):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr("fcntl.flock", refuse)

    def test_a_second_run_is_turned_away_until_the_first_is_done(self, tmp_path):
        store = tmp_path / "store.zarr"
        for _ in range(2):
            with only_writer(store), pytest.raises(StoreError, match=f"process {os.getpid()} on .* is writing this"):
                only_writer(store).__enter__()
            assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_run_left_is_named_to_be_deleted(self, tmp_path):
        lock = tmp_path / ".store.zarr.lock"
        lock.write_text("process 7 on node3")
        with pytest.raises(StoreError, match=rf"process 7 on node3 .*or was killed; .* delete {lock}, then") as caught:
            only_writer(tmp_path / "store.zarr").__enter__()
        assert "\n" not in str(caught.value)
        lock.unlink()
        with only_writer(tmp_path / "store.zarr"):
            pass

    def test_the_lock_of_the_next_run_is_not_deleted_by_the_one_before(self, tmp_path):
        lock = tmp_path / ".store.zarr.lock"
        with only_writer(tmp_path / "store.zarr"):
            lock.unlink()
            lock.write_text("process 7 on node3")
        assert lock.exists()


def test_another_system_s_numbers_and_the_lack_of_fcntl_change_nothing(tmp_path):
    script = f"""
        import errno, sys
        from pathlib import Path
        errno.ENOTSUP = 45  # as on macOS, where it is not EOPNOTSUPP
        sys.modules["fcntl"] = None  # as on Windows
        from spaceclip.cache import StoreError, only_writer
        from spaceclip.cache.places import lock
        store = Path({str(tmp_path / "store.zarr")!r})
        def refuse(_file):
            raise OSError(45, "Operation not supported")
        for locks in lock._lock, refuse:
            lock._lock = locks
            with only_writer(store):
                try:
                    only_writer(store).__enter__()
                except StoreError as error:
                    print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("is writing this store, or was killed; this file system knows no locks") == 2
