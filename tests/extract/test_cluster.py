import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from distributed import Client
from PIL import Image
from spaceclip.cache import FeatureCache, SpaceClipError, StoreWriter
from spaceclip.extract import BackboneSettings, ExtractSettings, FolderData, load_backbone, open_splits, store_spec
from spaceclip.extract.cluster import Job, ShardWorker, extract_on_cluster
from spaceclip.extract.connect import local_cluster
from spaceclip.extract.run import extract

SETTINGS = ExtractSettings(layers=(0, 2), batch_size=4, shard=2, threads=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(draw.integers(0, 256, (24, 36, 3), dtype=np.uint8)).save(root / f"{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(2, gpus=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def make_job(tiny_config, pictures, tmp_path):
    """A job whose store is laid out, and the single-machine run of it to compare with."""

    def make(images=pictures):
        data = FolderData(images=images)
        source = open_splits(data)["train"]
        settings = BackboneSettings(name=f"random:{tiny_config}", precision="float32")
        backbone = load_backbone(settings.name, precision="float32")
        alone = extract(source, backbone, SETTINGS, tmp_path / "alone", "train", {}).store
        spec = store_spec(source, backbone, SETTINGS)
        job = Job(Path.cwd(), data, "train", settings, "cpu", SETTINGS, spec, tmp_path / "together.zarr")
        return job, StoreWriter(job.store, spec, {}).pending, alone

    return make


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def ignore(_done, _total, _workers):
    pass


def test_two_workers_leave_the_bytes_of_one_machine(cluster, make_job):
    job, pending, alone = make_job()
    told = []
    assert extract_on_cluster(cluster, job, pending, lambda *found: told.append(found)) == 24
    assert files(job.store) == files(alone)
    assert told[-1] == (24, 24, 2)
    assert FeatureCache.open(job.store).digest == FeatureCache.open(alone).digest


def test_a_worker_killed_in_mid_shard_costs_nothing_but_time(cluster, make_job):
    job, pending, alone = make_job()
    victims = list(cluster.run(os.getpid).values())

    def kill(done, _total, _workers):
        if done >= 4 and victims:
            os.kill(victims.pop(), signal.SIGKILL)
            victims.clear()

    assert extract_on_cluster(cluster, job, pending, kill) == 24
    assert files(job.store) == files(alone)


@pytest.fixture
def machines(tmp_path):
    """A scheduler and workers as processes of their own, as on a cluster."""
    file, started = tmp_path / "scheduler.json", []

    def start(kind, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", file, *options]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(list(map(str, command)), stdout=quiet, stderr=quiet))
        return started[-1]

    yield SimpleNamespace(
        file=file,
        scheduler=lambda: start("scheduler", "--port", 0, "--no-dashboard", "--host", "127.0.0.1"),
        worker=lambda: start("worker", "--nthreads", 1, "--no-dashboard", "--no-nanny"),
    )
    for process in reversed(started):
        process.kill()
        process.wait()


def test_a_worker_that_joins_in_the_middle_is_given_work(make_job, machines):
    job, pending, alone = make_job()
    joined, counts = [], []
    machines.scheduler()
    machines.worker()
    with Client(scheduler_file=str(machines.file), timeout=30) as client:

        def join(_done, _total, workers):
            if not joined:
                joined.append(machines.worker())
                client.wait_for_workers(2, timeout=60)
                time.sleep(1.1)  # workers are counted once a second
            counts.append(workers)

        extract_on_cluster(client, job, pending, join)
        plugins: Any = client.run(lambda dask_worker: "spaceclip-extract" in dask_worker.plugins)
        assert list(plugins.values()) == [True, True]
    assert counts[-1] == 2
    assert files(job.store) == files(alone)


def test_a_lost_scheduler_is_one_line_and_what_is_committed_stays(make_job, machines):
    job, pending, _ = make_job()
    scheduler = machines.scheduler()
    machines.worker()
    with Client(scheduler_file=str(machines.file), timeout=30) as client:

        def kill(_done, _total, _workers):
            scheduler.kill()

        with pytest.raises(SpaceClipError, match=r"the scheduler was lost .* committed shards are safe"):
            extract_on_cluster(client, job, pending, kill)
    committed = StoreWriter(job.store, job.spec, {}).records
    assert 1 <= len(committed) < len(pending)


def test_bad_input_on_a_worker_is_one_line_and_not_retried(cluster, make_job, tmp_path, pictures):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, pending, _ = make_job(images)
    content = (images / "013.png").read_bytes()
    (images / "013.png").write_bytes(content[:200] + bytes(len(content) - 200))
    with pytest.raises(SpaceClipError, match=r"013\.png") as caught:
        extract_on_cluster(cluster, job, pending, ignore)
    assert "\n" not in str(caught.value)


def test_a_worker_with_other_files_refuses(cluster, make_job, tmp_path, pictures):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, pending, _ = make_job(images)
    (images / "005.png").unlink()
    with pytest.raises(SpaceClipError, match="its files of the train split are not those of the run"):
        extract_on_cluster(cluster, job, pending, ignore)


def test_what_travels_to_a_worker_is_small(make_job):
    job, _, _ = make_job()
    assert len(pickle.dumps(ShardWorker(job))) < 10_000


def test_more_workers_than_gpus_are_refused():
    with pytest.raises(SpaceClipError, match=r"--workers 99 --gpus: \d+ GPUs are here"), local_cluster(99, gpus=True):
        pass
