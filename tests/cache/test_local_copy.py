"""A folder that keeps what is read of a bucket: fetched once, never believed, mended by itself."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from spaceclip.cache import FeatureCache, StoreError, StoreWriter, locate

THERE = "s3://bucket/store.zarr"


@pytest.fixture
def store(s3, make_store):
    """A store in the bucket, and the same in a folder."""
    path, _ = make_store()
    put(s3, path)
    return FeatureCache.open(path)


@pytest.fixture
def near(tmp_path):
    return tmp_path / "near"


def put(s3, path):
    files = [file for file in path.rglob("*") if file.is_file()]
    s3.buckets["bucket"] = {f"store.zarr/{file.relative_to(path).as_posix()}": file.read_bytes() for file in files}


def opened(near):
    return FeatureCache.open(THERE, local_copy=near)


def everything(cache):
    states = [cache.states(range(len(cache)), view) for view in cache.views]
    rows = [(cache.depth(row), cache.ground_truth(row), cache.image(row)) for row in range(len(cache))]
    pooled = [cache.pooled(range(len(cache)), view) for view in cache.views]
    return [array.tobytes() for found in (*[one.values() for one in states], *rows, pooled) for array in found]


def fetched(s3):
    return [path for method, path, _ in s3.asked if method == "GET" and "/c/" in path]


def kept(near):
    return [file for file in near.rglob("*") if file.is_file()]


def test_each_object_is_fetched_once_and_all_numbers_are_the_store_s(s3, store, near):
    for _ in range(2):
        assert everything(opened(near)) == everything(store)
    asked = fetched(s3)
    assert len(asked) == len(set(asked)) == len(store.parts) * 3 == len(kept(near))


def test_only_what_is_read_is_fetched(s3, store, near):
    opened(near).states([5], "flipped", layers=[3])
    assert fetched(s3) == ["/bucket/store.zarr/layers/3/c/1/1/0/0"]


def test_many_threads_fetch_an_object_once(s3, store, near):
    cache = opened(near)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda row: cache.states([row], layers=[0])[0], [0, 1, 2, 3] * 16))
    np.testing.assert_array_equal(np.concatenate(found[:4]), store.states(range(4), layers=[0])[0])
    assert len(fetched(s3)) == 1


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied", "deleted"])
@pytest.mark.parametrize("when", ["before it is opened", "while it is open"])
def test_what_is_damaged_in_the_folder_is_fetched_anew(s3, store, near, damage, when):
    cache = opened(near)
    everything(cache)
    for file in kept(near):
        content = bytearray(file.read_bytes())
        for at in (1, len(content) // 2, -9):  # Chunks, and the index, which only compressed ones need.
            content[at] ^= 1
        if damage == "deleted":
            file.unlink()
        else:
            length = {"flipped": None, "truncated": len(content) // 5, "emptied": 0}[damage]
            file.write_bytes(content[:length])
    s3.asked.clear()
    if when == "before it is opened":
        cache = opened(near)
    assert everything(cache) == everything(store)
    # What was open knows the indices already; the next one meets those that are damaged.
    assert everything(opened(near)) == everything(store)
    assert len(fetched(s3)) == len(store.parts) * 3
    s3.asked.clear()
    assert everything(opened(near)) == everything(store)
    assert fetched(s3) == []


def test_a_store_that_was_made_anew_with_other_numbers_is_not_taken_for_the_old(
    s3, store, near, make_spec, make_block, tmp_path
):
    before = everything(opened(near))
    again = StoreWriter(tmp_path / "again.zarr", make_spec(), store.about)
    for shard in again.pending:
        block = make_block(again.spec, shard)
        block["pooled"] += 1
        again.write(shard, block)
    put(s3, tmp_path / "again.zarr")
    s3.asked.clear()
    cache = opened(near)
    assert cache.fingerprint == store.fingerprint
    assert everything(cache) == everything(FeatureCache.open(tmp_path / "again.zarr")) != before
    assert {path.split("/")[3] for path in fetched(s3)} == {"pooled"}


def test_what_is_damaged_in_the_bucket_is_not_kept(s3, store, near):
    key = "store.zarr/layers/3/c/1/0/0/0"
    s3.buckets["bucket"][key] = s3.buckets["bucket"][key][:-1] + b"x"
    with pytest.raises(StoreError, match=rf"s3://bucket/{key}: damaged: it is not what the ledger says; run `spacecl"):
        opened(near).states([5], layers=[3])
    assert kept(near) == []


def test_what_was_written_anew_in_the_bucket_since_it_was_opened_says_so(s3, store, near):
    cache, objects = opened(near), s3.buckets["bucket"]
    objects["store.zarr/layers/3/c/1/0/0/0"] = objects["store.zarr/layers/0/c/1/0/0/0"]
    with pytest.raises(StoreError, match="written anew since the store was opened, open it again"):
        cache.states([5], layers=[3])
    assert kept(near) == []


SCRIPT = f"""
import hashlib, sys
from pathlib import Path
from spaceclip.cache import FeatureCache
cache = FeatureCache.open("{THERE}", local_copy=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    digest = hashlib.sha256()
    for row in range(len(cache)):
        for view in cache.views:
            for states in cache.states([row], view).values():
                digest.update(states.tobytes())
print(digest.hexdigest())
"""


def test_processes_share_a_folder(s3, store, near):
    command = [sys.executable, "-c", SCRIPT, str(near)]
    runs = [subprocess.Popen(command, stdin=-1, stdout=-1, env=os.environ, text=True) for _ in range(2)]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    digests = {run.communicate("go\n", timeout=60)[0] for run in runs}
    assert len(digests) == 1
    objects = 3 * len(store.layers) * len(store.views)
    assert objects <= len(fetched(s3)) <= 2 * objects
    assert len(kept(near)) == objects
    assert everything(opened(near)) == everything(store)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_kept(s3, store, near):
    near.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(near)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        with pytest.raises(StoreError, match=r"near: the local copy cannot be kept \(No space left on") as caught:
            everything(opened(near))
        assert "\n" not in str(caught.value)
        sound = {stored.blake3 for record in store.records.values() for stored in record.objects.values()}
        assert {file.name for file in kept(near)} < sound
    finally:
        subprocess.run(["umount", str(near)], check=True)
    assert everything(opened(near)) == everything(store)


def test_a_folder_that_cannot_be_made_is_one_line(s3, store, near):
    near.write_text("a file")
    with pytest.raises(StoreError, match=r"near: the local copy cannot be kept \(Not a directory|File exists"):
        everything(opened(near))


def test_a_store_in_a_folder_can_be_copied_nearer_too(store, near):
    cache = FeatureCache.open(store.path, local_copy=near)
    assert everything(cache) == everything(store)
    assert len(kept(near)) == len(store.parts) * 3


def test_nothing_is_written_through_it(store, near):
    place = opened(near).place
    for write in (lambda: place.write("key", b""), lambda: place.delete("zarr.json")):
        with pytest.raises(PermissionError, match="opened for reading"):
            write()
    assert not place.take("key", locate(THERE), "zarr.json")
