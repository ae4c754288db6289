"""Verifying a store against its limit, a bare read of the same files; and `info` on a ledger of 10,000 shards."""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench_feed import make_store
from blake3 import blake3
from click.testing import CliRunner
from spaceclip.cache import FeatureCache, Pointer, verify
from spaceclip.cache.format.identity import Entry, StoreSpec
from spaceclip.cache.format.ledger import record_key
from spaceclip.cache.format.metadata import attributes_of, write_missing
from spaceclip.cache.places.folder import Folder
from spaceclip.pipeline.cli import main as spaceclip

BUFFER = 2**18


def bare_read(files: list[Path], threads: int) -> None:
    """Read every file and keep nothing."""

    def read(file: Path) -> None:
        buffer = bytearray(BUFFER)
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, files))


def bare_hash(size: int, threads: int) -> None:
    """Hash as many bytes of memory: what BLAKE3 alone would take."""
    buffer = memoryview(bytearray(BUFFER))

    def work(_thread: int) -> None:
        digest = blake3()
        for _ in range(size // threads // BUFFER):
            digest.update(buffer)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def forget(files: list[Path]) -> None:
    """Drop the files from the page cache."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def info(pointer: str) -> None:
    """The plain command, without the start of Python."""
    done = CliRunner().invoke(spaceclip, ["cache", "info", pointer])
    if done.exit_code:
        raise RuntimeError(done.output)


def many_records(place: Path, count: int) -> Path:
    """A store of that many shards by its ledger alone; the path of its pointer."""
    small = make_store(place / "one.zarr", 64, (352, 704))
    record = small.records[0]
    identity = small.identity
    spec = StoreSpec(
        backbone={"name": "made up", "revision": "none", "precision": "float32"},
        preprocessing=identity["preprocessing"],
        layers=identity["layers"],
        views=identity["views"],
        patches=196,
        channels=768,
        image_size=(224, 224),
        depth=None,
        entries=[Entry(f"scene{index // 100}/{index}", f"scene{index // 100}", "1") for index in range(64 * count)],
    )
    store = place / f"train-{spec.fingerprint}.zarr"
    write_missing(Folder(store), attributes_of(spec, {"split": "train"}), spec.entries)
    (store / record_key(0)).parent.mkdir()
    for shard in range(count):
        start, stop = spec.rows(shard)
        copy = replace(record, fingerprint=spec.fingerprint, shard=shard, start=start, stop=stop)
        (store / record_key(shard)).write_bytes(copy.to_json())
    pointer = place / "train.json"
    Pointer(store.name, spec.fingerprint, 64 * count, FeatureCache.open(store).digest).write(pointer)
    return pointer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shards", type=int, default=10_000)
    given = parser.parse_args()
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "store.zarr"
        make_store(store, given.images, (352, 704))
        files = [file for file in store.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        for name, prepare in (("disk", forget), ("page cache", lambda _files: None)):
            rows = []
            for _ in range(given.repeats):
                prepare(files)
                read = seconds(lambda: bare_read(files, threads))
                prepare(files)
                checked = seconds(lambda: verify(store))
                hashed = seconds(lambda: bare_hash(size, threads))
                prepare(files)
                deep = seconds(lambda: verify(store, deep=True))
                rows.append((read / checked, read / hashed, read / deep, read, checked, hashed))
            ratio, of_hash, of_deep, read, checked, hashed = map(statistics.median, zip(*rows, strict=True))
            print(
                f"verify / bare read from the {name}: {ratio:.2f} ({size / checked / 1e9:.2f} against "
                f"{size / read / 1e9:.2f} GB/s); BLAKE3 alone / bare read: {of_hash:.2f} "
                f"({size / hashed / 1e9:.2f} GB/s); --deep {of_deep:.2f}; load {os.getloadavg()[0]:.1f}"
            )
    with tempfile.TemporaryDirectory() as place:
        pointer = str(many_records(Path(place), given.shards))
        times = [seconds(lambda: info(pointer)) for _ in range(given.repeats)]
        print(f"info on {given.shards:,} shards: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
