"""What cannot be read just now is no damage: it is said in one line, and nothing is taken away because of it."""

import errno
import os
import sys
from contextlib import contextmanager

import pytest
from spaceclip.cache import FeatureCache, Problem, StoreError, StoreWriter, locate, repair, verify
from spaceclip.cache.errors import UnreadableError
from spaceclip.cache.places.bucket import Bucket
from spaceclip.cache.places.folder import Folder

OBJECT = "image/c/1/0/0/0"
READS = [
    ("read", "zarr.json"),
    ("read", "samples.jsonl"),
    ("read", "depth/zarr.json"),
    ("read", "ledger/000001.json"),
    ("stored", OBJECT),
    ("read_end", OBJECT),
    ("opened", OBJECT),
]


@pytest.fixture
def failing(monkeypatch):
    """Lets a method of a place fail for one key, a number of times."""

    @contextmanager
    def fail(place, method, key, number, times=10**6):
        real, left = getattr(place, method), [times]

        def sometimes(self, asked, *more):
            if asked == key and left[0]:
                left[0] -= 1
                raise OSError(number, os.strerror(number))
            return real(self, asked, *more)

        with monkeypatch.context() as patch:
            patch.setattr(place, method, sometimes)
            yield

    return fail


@pytest.mark.parametrize(("method", "key"), READS)
@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EMFILE, "try again when it can"),
        (errno.ESTALE, "try again when it can"),
        (errno.EACCES, "give yourself permission to read it"),
    ],
)
def test_a_read_error_ends_a_deep_repair_in_one_line_and_deletes_nothing(
    make_store, contents, failing, method, key, number, remedy
):
    path, _ = make_store()
    before = contents(path)
    with failing(Folder, method, key, number):
        line = rf"cannot be read \({os.strerror(number)}\); {remedy}"
        with pytest.raises(UnreadableError, match=line) as caught:
            repair(path, deep=True)
        with pytest.raises(UnreadableError, match=line):
            verify(path, deep=True)
    assert "\n" not in str(caught.value)
    assert contents(path) == before
    assert repair(path, deep=True).problems == []


def test_a_reader_says_so_of_the_sample_list_and_of_an_array(make_store, failing):
    path, _ = make_store()
    cache = FeatureCache.open(path)
    with (
        failing(Folder, "read", "samples.jsonl", errno.ESTALE),
        pytest.raises(UnreadableError, match=r"samples\.jsonl: cannot be read"),
    ):
        _ = cache.entries
    with (
        failing(Folder, "read", "depth/zarr.json", errno.ESTALE),
        pytest.raises(UnreadableError, match=r"depth/zarr\.json: cannot be read"),
    ):
        cache.depth(0)
    assert cache.depth(0).any()
    assert len(cache.entries) == 10


def test_a_network_that_fails_at_the_first_read_of_an_array_is_one_line(s3, patience, make_store):
    path, _ = make_store()
    _put(s3, path)
    patience(0)
    cache = FeatureCache.open("s3://bucket/store.zarr")
    s3.answers += [503] * 4
    with pytest.raises(UnreadableError, match=r"pooled/zarr\.json: cannot be read") as caught:
        cache.pooled([0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_no_error_of_a_bucket_is_damage(s3, make_store, failing, number):
    path, _ = make_store()
    _put(s3, path)
    before = dict(s3.buckets["bucket"])
    with (
        failing(Bucket, "stored", OBJECT, number),
        pytest.raises(UnreadableError, match=rf"s3://bucket/store\.zarr/{OBJECT}: cannot be read"),
    ):
        repair(locate("s3://bucket/store.zarr"))
    assert s3.buckets["bucket"] == before


def test_a_bad_sector_is_found_and_its_shard_computed_again(make_store, make_block, contents, failing):
    path, spec = make_store()
    whole = contents(path)
    with failing(Folder, "stored", OBJECT, errno.EIO):
        assert verify(path).problems == [Problem("unreadable", 1, "image")]
        assert repair(path).removed == [1]
    _finish(path, spec, make_block)
    assert contents(path) == whole


def test_an_input_error_that_does_not_stay_is_no_damage(make_store, failing):
    path, _ = make_store()
    with failing(Folder, "stored", OBJECT, errno.EIO, times=1):
        assert verify(path).problems == []


@pytest.mark.parametrize("in_place_of", ["a file", "a folder"])
def test_what_is_no_file_is_found_and_named_by_repair(make_store, make_block, contents, in_place_of):
    path, spec = make_store()
    whole = contents(path)
    wrong = path / (OBJECT if in_place_of == "a file" else "image/c/1")
    wrong.rename(path.parent / "away")
    if in_place_of == "a file":
        wrong.mkdir()
    else:
        wrong.write_bytes(b"")
    assert verify(path).problems == [Problem("unreadable", 1, "image")]
    with pytest.raises(StoreError, match=rf"{OBJECT}: cannot be written or removed \((Is|Not) a directory\)"):
        repair(path)
    wrong.rmdir() if in_place_of == "a file" else wrong.unlink()
    assert repair(path).pending == [1]
    _finish(path, spec, make_block)
    assert contents(path) == whole


def test_a_repair_that_another_run_took_over_deletes_no_more(make_store, monkeypatch):
    path, _ = make_store()
    for shard in (0, 2):
        (path / f"pooled/c/{shard}/0/0").write_bytes(b"")
    asked = []

    def check():
        asked.append(sorted(file.name for file in (path / "ledger").iterdir()))
        if len(asked) == 2:
            raise StoreError("another run has taken over this store")

    @contextmanager
    def lost(_store):
        yield check

    monkeypatch.setattr(sys.modules["spaceclip.cache.upkeep.repair"], "only_writer", lost)
    with pytest.raises(StoreError, match="taken over"):
        repair(path)
    assert asked == [["000000.json", "000001.json", "000002.json"], ["000001.json", "000002.json"]]
    assert (path / "ledger/000002.json").exists()
    assert (path / "image/c/2/0/0/0").exists()


def test_only_a_few_objects_are_taken_up_before_the_first_is_done(make_store, monkeypatch):
    path, _ = make_store(shard=1)
    module = sys.modules["spaceclip.cache.upkeep.verify"]
    real, taken, seen = module._objects, [], []

    def counted(cache):
        for one in real(cache):
            taken.append(one)
            yield one

    monkeypatch.setattr(module, "_objects", counted)
    monkeypatch.setattr(module, "AHEAD", 3)
    assert verify(path, lambda _size: seen.append(len(taken))).problems == []
    assert len(seen) == len(taken) == 100
    assert seen[0] == 4
    assert max(ahead - done for done, ahead in enumerate(seen)) == 4


def _put(s3, path):
    files = [file for file in path.rglob("*") if file.is_file()]
    s3.buckets["bucket"] = {f"store.zarr/{file.relative_to(path).as_posix()}": file.read_bytes() for file in files}


def _finish(path, spec, make_block):
    writer = StoreWriter(path, spec, {"split": "train", "split_by": "scene"})
    for shard in writer.pending:
        writer.write(shard, make_block(spec, shard))
