"""Extraction on a Dask cluster of two processes: what a shard costs beside its work, and how it does against none."""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from bench_extract import NAME, make_pictures
from distributed import Client
from spaceclip.cache import Entry, StoreSpec, StoreWriter
from spaceclip.extract import (
    BackboneSettings,
    ExtractSettings,
    FolderData,
    extract,
    load_backbone,
    open_splits,
    store_spec,
)
from spaceclip.extract.cluster import choose_environment
from spaceclip.extract.cluster.connection import local_cluster
from spaceclip.extract.cluster.driver import Job, extract_on_cluster
from spaceclip.extract.computed import settled
from spaceclip.extract.malloc import keep_freed_memory
from spaceclip.extract.remaining import Work

BACKBONE = BackboneSettings(name=NAME, precision="float32")
WORKERS = 2
_SKIPPED = 2 * WORKERS


def overhead(client: Client, shards: int) -> float:
    """Seconds a shard of no work at all takes: the whole run's time by the number of shards.

    All is as ever, but that the worker's `extract` returns at once. Two workers, the scheduler and the client share the
    machine; while shards are computed the next are under way, so that of a real run this is the most it can cost.
    """
    spec = StoreSpec(
        backbone={}, preprocessing={}, layers=(0,), views=("plain",), patches=1, channels=1, image_size=(1, 1),
        depth=None, entries=[Entry(f"{number:05d}", "scene", "1") for number in range(shards)], shard=1,
    )  # fmt: skip
    data = FolderData(images=Path())
    chosen = choose_environment(client, "cpu", "float32")
    job = Job(data, "train", BACKBONE, "cpu", chosen, ExtractSettings(), spec, Path("nowhere.zarr"))

    def idle() -> None:
        from spaceclip.extract.cluster import driver as cluster

        worker: Any = cluster.ShardWorker
        worker.real, worker.extract = worker.extract, lambda *_: None

    def mend() -> None:
        from spaceclip.extract.cluster import driver as cluster

        worker: Any = cluster.ShardWorker
        worker.extract = worker.real

    client.run(idle)
    start = time.perf_counter()
    extract_on_cluster(client, job, Work(job.spec, list(range(shards))), lambda *_: None)
    seconds = time.perf_counter() - start
    client.run(mend)
    return seconds / shards


def cluster_rate(client: Client, pictures: Path, settings: ExtractSettings) -> float:
    """Images a second of two workers."""
    data = FolderData(images=pictures)
    source = open_splits(data)["train"]
    backbone = load_backbone(NAME, precision="float32")
    with tempfile.TemporaryDirectory(dir=pictures.parent) as place:
        store = Path(place) / "all.zarr"
        spec = settled(store_spec(source, backbone, settings), store, backbone, settings)
        pending = StoreWriter(store, spec, {}).pending
        job = Job(data, "train", BACKBONE, "cpu", choose_environment(client, "cpu", "float32"), settings, spec, store)
        extract_on_cluster(client, job, Work(job.spec, list(pending)), lambda *_: None)
        return steady_rate([store], settings.shard)


def plain_rate(begin: Callable[[], Any], pictures: Path, settings: ExtractSettings) -> float:
    """Images a second of two processes that know nothing of each other, a half of the pictures each."""
    begin()  # they are ready: they start
    begin()  # they are done
    stores = [next((pictures.parent / f"half{half}").glob("*.zarr")) for half in range(WORKERS)]
    return steady_rate(stores, settings.shard)


def plain_process(half: int, pictures: Path, settings: ExtractSettings, repeats: int, barrier: Barrier) -> None:
    """Extract one half again and again, whenever it is told to."""
    keep_freed_memory()  # as workers do
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // WORKERS))
    source = open_splits(FolderData(images=pictures.parent / f"pictures{half}"))["train"]
    backbone = load_backbone(NAME, precision="float32")
    out = pictures.parent / f"half{half}"
    for _ in range(repeats):
        for old in sorted(out.rglob("*"), reverse=True):
            old.rmdir() if old.is_dir() else old.unlink()
        barrier.wait()
        extract(source, backbone, settings, out, "all", {})
        barrier.wait()


def steady_rate(stores: list[Path], images: int) -> float:
    """Images a second between the commits of the fourth shard and the last but two: no start, no loading and no end.

    A plain process commits its last two shards together, and all others one shard late.
    """
    times = sorted(record.stat().st_mtime for store in stores for record in (store / "ledger").glob("*.json"))
    times = times[_SKIPPED - 1 : -WORKERS]
    return images * (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--shard", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    settings = ExtractSettings(batch_size=16, shard=given.shard, threads=2)
    with tempfile.TemporaryDirectory() as place, local_cluster(WORKERS, gpus=False) as client:
        seconds = overhead(client, given.shards)
        print(
            f"overhead of Dask: {1000 * seconds:.2f} ms a shard ({given.shards} shards of no work, {WORKERS} workers)"
        )
        pictures = Path(place) / "pictures"
        make_pictures(pictures, given.images)
        for half in range(WORKERS):
            (part := Path(place) / f"pictures{half}").mkdir()
            for picture in sorted(pictures.iterdir())[half::WORKERS]:
                (part / picture.name).symlink_to(picture.resolve())
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(WORKERS + 1)
        for half in range(WORKERS):
            inputs = (half, pictures, settings, given.repeats, barrier)
            context.Process(target=plain_process, args=inputs, daemon=True).start()
        rates = []
        for _ in range(given.repeats):
            plain = plain_rate(barrier.wait, pictures, settings)
            ours = cluster_rate(client, pictures, settings)
            rates.append((ours / plain, ours, plain))
        ratio, ours, plain = (statistics.median(column) for column in zip(*rates, strict=True))
        print(
            f"{WORKERS} Dask workers / {WORKERS} plain processes: {ratio:.2f} ({ours:.2f} against {plain:.2f} images/s "
            f"of two views, shards of {given.shard}; pairs: {', '.join(f'{pair[0]:.2f}' for pair in rates)})"
        )


if __name__ == "__main__":
    main()
