"""What every place must do, a folder or a bucket."""

import errno
import io
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from spaceclip.cache import host_memory
from spaceclip.cache.places import folder
from spaceclip.cache.places.folder import Folder
from spaceclip.cache.places.location import Url, locate
from spaceclip.cache.places.opening import place_at
from spaceclip.cache.places.place import Stored
from zarr.storage import MemoryStore

# BLAKE3 of "abc", as its authors publish it.
ABC = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


@pytest.fixture(params=["folder", "bucket"])
def where(request, tmp_path, s3):
    s3.buckets["other"] = {}
    return tmp_path if request.param == "folder" else locate("s3://bucket/some/stores")


@pytest.fixture
def place(where):
    return place_at(where / "store.zarr")


def test_what_was_written_is_read(place):
    place.write("layers/3/c/0", b"tokens")
    assert place.read("layers/3/c/0") == b"tokens"
    assert place.exists("layers/3/c/0")


def test_a_second_write_replaces_the_first(place):
    place.write("key", b"the first, long one")
    place.write("key", b"second")
    assert place.read("key") == b"second"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda content: np.frombuffer(content, "<i4").data])
def test_any_buffer_can_be_written(place, kind):
    place.write("key", kind(b"12345678"))
    assert place.read("key") == b"12345678"


def test_an_empty_object_is_one(place):
    place.write("key", b"")
    assert (place.read("key"), place.read_end("key", 5), place.exists("key")) == (b"", b"", True)
    assert place.stored("key") == Stored.of(b"")


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 3, b"012"), (4, 2, b"45"), (8, 9, b"89"), (10, 1, b""), (99, 1, b""), (2, 0, b"")],
)
def test_a_range_is_read_as_far_as_the_object_goes(place, start, length, expected):
    place.write("key", b"0123456789")
    buffers = [memoryview(bytearray(size)) for size in (min(length, 1), max(length - 1, 0))]
    assert place.read_into("key", start, *buffers) == len(expected)
    assert b"".join(map(bytes, buffers)) == expected.ljust(length, b"\0")


@pytest.mark.parametrize(("length", "expected"), [(1, b"9"), (4, b"6789"), (10, b"0123456789"), (99, b"0123456789")])
def test_the_end_is_read(place, length, expected):
    place.write("key", b"0123456789")
    assert place.read_end("key", length) == expected


def test_what_is_not_there_is_not_found(place):
    for read in (
        place.read,
        place.stored,
        lambda key: place.read_into(key, 0, memoryview(bytearray(1))),
        lambda k: place.read_end(k, 1),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            read("no/such")
        assert str(caught.value.filename) == str(place.location / "no/such")
    assert not place.exists("no/such")


def test_many_are_read_in_their_order_with_the_reason_in_place_of_a_missing_one(place):
    keys = [f"record/{index}" for index in range(70)]
    for key in keys:
        place.write(key, key.encode())
    place.delete(keys[40])
    found = list(place.read_all(keys))
    assert isinstance(found.pop(40), FileNotFoundError)
    assert found == [key.encode() for key in keys if key != keys[40]]


def test_reading_many_can_be_left_early(place):
    place.write("key", b"1")
    assert next(iter(place.read_all(["key"] * 500))) == b"1"


def test_a_deleted_object_is_gone_and_may_be_deleted_again(place):
    place.write("folder/key", b"1")
    place.delete("folder/key")
    place.delete("folder/key")
    assert not place.exists("folder/key")


def test_names_are_those_directly_below(place, where):
    for key in ("b/2/x", "b/10/y", "b/a", "c", "bb/z"):
        place.write(key, b"1")
    place_at(where / "store.zarr.more").write("not/of/it", b"1")
    assert place.names() == ["b", "bb", "c"]
    assert place.names("b") == ["10", "2", "a"]
    assert place.names("none") == []


def test_walking_gives_every_key_with_its_size(place):
    sizes = {"b/2/x": 1, "b/10/y": 22, "bb/z": 3, "c": 0}
    for key, size in sizes.items():
        place.write(key, bytes(size))
    assert dict(place.walk()) == sizes
    assert dict(place.walk("b")) == {"b/2/x": 1, "b/10/y": 22}
    assert list(place.walk("none")) == []


def test_unusual_names_stay_as_they_are(where):
    place = place_at(where / "store of Ü %20 +&")
    place.write("a key #?=ß/ü", b"1")
    assert [*place.walk()] == [("a key #?=ß/ü", 1)]
    assert (place.names(), place.read("a key #?=ß/ü")) == (["a key #?=ß"], b"1")


def test_size_and_hash_are_those_of_the_bytes(place):
    content = np.random.default_rng(0).bytes(3_000_001)
    place.write("key", content)
    assert place.stored("key") == Stored.of(content) != Stored.of(content[:-1] + b"?")
    place.write("key", b"abc")
    assert place.stored("key") == Stored(3, ABC)


def test_an_object_is_taken_without_its_bytes_passing(place, where):
    source = place_at(where / "old.zarr")
    source.write("a b/key", b"content")
    place.write("new/key", b"to be replaced")
    assert place.take("new/key", source.location, "a b/key")
    assert (place.read("new/key"), source.read("a b/key")) == (b"content", b"content")


def test_taking_again_what_is_there_leaves_nothing_behind(place, where):
    source = place_at(where / "old.zarr")
    source.write("key", b"content")
    for _ in range(2):
        assert place.take("new/key", source.location, "key")
        assert list(place.walk()) == [("new/key", 7)]


def test_what_cannot_be_taken_changes_nothing(place, where):
    place.write("new/key", b"there before")
    with pytest.raises(OSError):  # noqa: PT011 - a bucket's reason is another
        place.take("new/key", where / "old.zarr", "no/such")
    assert list(place.walk()) == [("new/key", 12)]
    assert place.read("new/key") == b"there before"


def test_a_folder_without_links_changes_nothing(tmp_path, monkeypatch):
    def refuse(_source, _file):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    place, source = place_at(tmp_path / "new.zarr"), place_at(tmp_path / "old.zarr")
    place.write("key", b"there before")
    source.write("key", b"content")
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PermissionError):
        place.take("key", source.location, "key")
    assert (list(place.walk()), place.read("key")) == ([("key", 12)], b"there before")


def test_a_walk_passes_over_what_gets_its_real_name_meanwhile(tmp_path, monkeypatch):
    place = place_at(tmp_path)
    place.write("key", b"1")
    monkeypatch.setattr(os, "walk", lambda top: [(str(top), [], [".key.0123456789ab", "key"])])
    assert list(place.walk()) == [("key", 1)]


def test_nothing_is_taken_from_a_place_of_another_kind(place, tmp_path, s3):
    elsewhere = Url("s3://other/store") if isinstance(place.location, Url) else Url("s3://bucket/store")
    place_at(elsewhere).write("key", b"1")
    assert not place.take("key", elsewhere, "key")
    assert not place.exists("key")


def test_zarr_reads_an_array_written_through_the_place_and_the_place_what_zarr_wrote(place):
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    scratch: dict = {}
    zarr.create_array(MemoryStore(scratch), data=values, chunks=(2, 6))
    for key, content in scratch.items():
        place.write(key, content.to_bytes())
    assert np.array_equal(zarr.open_array(place.zarr(), mode="r")[:], values)
    zarr.open_array(place.zarr(), mode="r+")[:] = -values
    for key, content in scratch.items():
        assert (place.read(key) != content.to_bytes()) == key.startswith("c/")


def test_a_place_can_be_sent_to_another_process(place):
    place.write("key", b"1")
    assert pickle.loads(pickle.dumps(place)).read("key") == b"1"


def test_many_threads_may_write_and_read_at_once(place):
    def work(number: int) -> None:
        for index in range(10):
            place.write(f"{number}/{index}", bytes([number]) * 5000)
            assert place.read(f"{number}/{index}") == bytes([number]) * 5000

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(size for _, size in place.walk()) == 8 * 10 * 5000


def test_what_was_written_or_linked_is_named_on_the_disk_too(tmp_path, monkeypatch):
    """A file's own sync is of its content; without that of its folder it may have no name after a power cut."""
    synced, sync, opened = [], os.fsync, os.open
    paths: dict[int, str] = {}

    def open_(path, *how, **named):
        descriptor = opened(path, *how, **named)
        paths[descriptor] = str(path)
        return descriptor

    def fsync(descriptor):
        path = paths.pop(descriptor, None)
        synced.extend([] if path is None else [(path, sorted(entry.name for entry in os.scandir(path)))])
        sync(descriptor)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "fsync", fsync)
    place_at(tmp_path / "store").write("c/0/0", b"tokens")
    made = [(tmp_path, ["store"]), (tmp_path / "store", ["c"]), (tmp_path / "store/c", ["0"])]
    assert synced == [(str(folder), names) for folder, names in [*made, (tmp_path / "store/c/0", ["0"])]]
    synced.clear()
    assert place_at(tmp_path / "store").take("c/1", tmp_path / "store", "c/0/0")
    assert synced == [(str(tmp_path / "store/c"), ["0", "1"])]


LARGE = np.random.default_rng(0).integers(0, 256, 2**20 + 3 * 4096, np.uint8)


def aligned(size, offset=0):
    """Some bytes that begin so many after a multiple of 4,096."""
    room = host_memory(len(LARGE) + offset)[offset:]
    room[:] = LARGE
    return room[:size].data


@pytest.mark.parametrize("offset", [0, 1, 512])
@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 5, 2**20 + 4096, 2**20 + 2 * 4096 + 4095])
def test_large_content_is_the_same_wherever_it_lies_in_memory(tmp_path, size, offset):
    Folder(tmp_path).write("c/0/0", aligned(size, offset))
    assert (tmp_path / "c/0/0").read_bytes() == LARGE[:size].tobytes()


@pytest.mark.parametrize(("size", "offset", "direct"), [(2**20 + 5, 0, 1), (2**20, 1, 0), (2**20 - 1, 0, 0)])
def test_large_aligned_content_is_written_past_the_page_cache(tmp_path, monkeypatch, size, offset, direct):
    flags = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flag, *rest: (flags.append(flag), real(path, flag, *rest))[1])
    Folder(tmp_path).write("object", aligned(size, offset))
    assert sum(bool(flag & os.O_DIRECT) for flag in flags) == direct


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTTY])
@pytest.mark.parametrize("blocks", [0, 1])
def test_a_file_system_that_goes_by_its_page_cache_alone_gets_the_same_bytes(tmp_path, monkeypatch, blocks, number):
    class Refusing(io.FileIO):
        def write(self, content):
            if self.tell() >= blocks * 4096:
                raise OSError(number, os.strerror(number))
            return super().write(content[:4096])

    monkeypatch.setattr(folder, "_open_direct", lambda path: Refusing(path, "wb"))
    Folder(tmp_path).write("object", aligned(2**20 + 5))
    assert (tmp_path / "object").read_bytes() == LARGE[: 2**20 + 5].tobytes()


def test_a_disk_that_is_full_in_the_midst_of_it_keeps_nothing(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            if self.tell():
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content[:4096])

    monkeypatch.setattr(folder, "_open_direct", lambda path: Full(path, "wb"))
    monkeypatch.setattr(Path, "open", lambda path, mode: io.BufferedWriter(Full(path, mode)))
    with pytest.raises(OSError, match="No space left"):
        Folder(tmp_path).write("object", aligned(2**20 + 5))
    assert list(tmp_path.iterdir()) == []
