"""Extraction on a Dask cluster of this machine's processes: what a task costs, and how workers do against a process."""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from distributed import Client
from pictures import make_pictures
from spaceclip.cache import Entry, StoreSpec
from spaceclip.cache.cluster import choose_environment, local_cluster
from spaceclip.cache.malloc import keep_freed_memory
from spaceclip.extract import BackboneSettings, ExtractSettings, FolderData, extract, load_backbone, open_splits
from spaceclip.extract.cluster import Cluster, environment_here
from spaceclip.extract.cluster.driver import extract_on_cluster
from spaceclip.extract.cluster.job import Job
from spaceclip.extract.remaining import Work

# A quarter of the work of patches of 16 pixels, so that what is not the encoder counts for more.
NAME = "random:openai/clip-vit-base-patch32"
BACKBONE = BackboneSettings(name=NAME)
# Commits that come before all stages are busy, or when some are no more.
_FIRST, _LAST = 4, 3


def overhead(client: Client, shards: int) -> float:
    """Seconds that a task of no work at all takes: the whole run's time by the number of tasks.

    All is as ever, but that the worker's `extract` returns at once. Two workers, the scheduler and the client share the
    machine; while shards are computed the next are under way, so that of a real run this is the most it can cost.
    """
    spec = StoreSpec(
        backbone={}, preprocessing={}, layers=(0,), views=("plain",), patches=1, channels=1, image_size=(1, 1),
        depth=None, entries=[Entry(f"{number:05d}", "scene", "1") for number in range(shards)], shard=1,
        computed={"device": "none", "batch": 1},
    )  # fmt: skip
    data, chosen = FolderData(images=Path()), choose_environment(client, partial(environment_here, "cpu", "auto"))
    job = Job(data, "train", BACKBONE, "cpu", chosen, ExtractSettings(), spec, Path("nowhere.zarr"))

    def idle() -> None:
        from spaceclip.extract.cluster.worker import ShardWorker

        plugin: Any = ShardWorker
        plugin.real, plugin.extract = plugin.extract, lambda *_: None

    def mend() -> None:
        from spaceclip.extract.cluster.worker import ShardWorker

        plugin: Any = ShardWorker
        plugin.extract = plugin.real

    client.run(idle)
    start = time.perf_counter()
    extract_on_cluster(client, job, Work(job.spec, list(range(shards))), lambda *_: None)
    seconds = time.perf_counter() - start
    client.run(mend)
    return seconds / shards


def ratios(client: Client, pictures: Path, settings: ExtractSettings, repeats: int) -> list[tuple[float, float, float]]:
    """Ratio, images a second of the workers, and of this process with a thread a core, one after the other."""
    data = FolderData(images=pictures)
    source, backbone = open_splits(data)["train"], load_backbone(NAME, precision="auto")
    cluster = Cluster(
        client, data, BACKBONE, "cpu", choose_environment(client, partial(environment_here, "cpu", "auto")), settings
    )

    def rate(how: Callable[[], dict[str, Any]]) -> float:
        with tempfile.TemporaryDirectory(dir=pictures.parent) as out:
            done = extract(source, backbone, settings, Path(out), "train", {}, **how())
            return steady_rate(Path(str(done.store)), settings.shard)

    def on_workers() -> dict[str, Any]:
        return {"fill": cluster.fill("train"), "settle": cluster.settle}

    rate(on_workers)  # loads the encoder
    found = []
    for number in range(repeats):
        pair = [(rate(how), how) for how in (on_workers, dict)[:: 1 if number % 2 else -1]]
        ours, plain = (next(found for found, how in pair if how is kind) for kind in (on_workers, dict))
        found.append((ours / plain, ours, plain))
    return found


def steady_rate(store: Path, images: int) -> float:
    """Images a second between two commits with nothing of the start or the end in it."""
    times = sorted(record.stat().st_mtime for record in (store / "ledger").glob("*.json"))[_FIRST - 1 : -_LAST]
    return images * (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--shard", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    keep_freed_memory()  # as workers do
    torch.set_num_threads(os.cpu_count() or 1)
    settings = ExtractSettings(batch_size=given.shard, shard=given.shard)
    with tempfile.TemporaryDirectory() as place:
        pictures = Path(place) / "pictures"
        make_pictures(pictures, given.images)
        for workers in (1, 2):
            with local_cluster(workers, gpus=False) as client:
                if workers > 1:
                    seconds = overhead(client, given.tasks)
                    print(f"overhead of Dask: {1000 * seconds:.2f} ms a task ({given.tasks} tasks of no work)")
                pairs = ratios(client, pictures, settings, given.repeats)
            ratio, ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"--workers {workers} / the plain run: {ratio:.2f} ({ours:.2f} against {plain:.2f} images/s of two "
                f"views, shards of {given.shard}; pairs: {', '.join(f'{pair[0]:.2f}' for pair in pairs)})"
            )


if __name__ == "__main__":
    main()
