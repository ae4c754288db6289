import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pytest
from distributed import Client, WorkerPlugin
from PIL import Image
from spaceclip.cache import FeatureCache, SpaceClipError, StoreWriter
from spaceclip.extract import (
    BackboneSettings,
    ExtractSettings,
    FolderData,
    load_backbone,
    open_splits,
    store_spec,
)
from spaceclip.extract.cluster import PLUGIN, Job, ShardWorker, extract_on_cluster
from spaceclip.extract.connect import dashboard, local_cluster
from spaceclip.extract.run import extract
from spaceclip.extract.work import Work

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

    def make(images=pictures, name="together.zarr"):
        data = FolderData(images=images)
        source = open_splits(data)["train"]
        settings = BackboneSettings(name=f"random:{tiny_config}", precision="float32")
        backbone = load_backbone(settings.name, precision="float32")
        alone = extract(source, backbone, SETTINGS, tmp_path / "alone", "train", {}).store
        spec = store_spec(source, backbone, SETTINGS)
        job = Job(Path.cwd(), data, "train", settings, "cpu", SETTINGS, spec, tmp_path / name)
        return job, StoreWriter(job.store, spec, {}).pending, alone

    return make


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def computed(client, job, pending, watch, **more):
    """Images that extraction on a cluster says it computed."""
    found = extract_on_cluster(client, job, Work(job.spec, list(pending)), watch, **more)
    return found.images if found else 0


def ignore(_done, _total, _workers):
    pass


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_workers_leave_the_bytes_of_one_machine(cluster, make_job):
    job, pending, alone = make_job()
    told = []
    assert computed(cluster, job, pending, lambda *found: told.append(found)) == 24
    assert files(job.store) == files(alone)
    assert told[-1] == (24, 24, 2)
    assert FeatureCache.open(job.store).digest == FeatureCache.open(alone).digest


def test_each_stage_s_ceiling_is_the_sum_of_the_workers(cluster, make_job):
    job, pending, _ = make_job()
    start = time.perf_counter()
    found = extract_on_cluster(cluster, job, Work(job.spec, list(pending)), ignore)
    assert found is not None
    assert (found.images, set(found.rates)) == (24, {"decoding", "encoding", "writing"})
    assert 0 < found.seconds < time.perf_counter() - start
    assert 0 < found.share < 1
    assert found.megabytes > 0


class Halting(WorkerPlugin):
    """On every worker, also one started anew: some first calls of a function of `module` are noted, and never return.

    They hang in the kernel, reading a pipe that nobody writes to, as they would on a network file system that is gone.
    """

    name = "halting"

    def __init__(self, module, function, notes, times):
        self.module, self.function, self.notes, self.times = module, function, notes, times

    def setup(self, worker):
        import importlib

        module = importlib.import_module(self.module)
        self.real = getattr(module, self.function)

        def halt(*given):
            for number in range(self.times):
                try:
                    note = os.open(self.notes / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                except FileExistsError:
                    continue
                shard = getattr(given[-1], "shard", None)
                os.write(note, f"{os.getpid()} {worker.address} {shard}".encode())
                os.close(note)
                open(self.notes / "pipe").close()  # noqa: PTH123
                break
            return self.real(*given)

        setattr(module, self.function, halt)

    def teardown(self, worker):
        import importlib

        setattr(importlib.import_module(self.module), self.function, self.real)


@pytest.fixture
def halting(cluster, tmp_path):
    """Have a function halt on the workers; returns those that do, as (process, address, shard), when called."""
    notes = tmp_path / "notes"
    notes.mkdir()
    os.mkfifo(notes / "pipe")

    def start(module, function, times):
        cloudpickle.register_pickle_by_value(sys.modules[Halting.__module__])
        cluster.register_plugin(Halting(module, function, notes, times))
        return lambda: [tuple(note.read_text().split()) for note in sorted(notes.glob("[0-9]"))]

    yield start
    cluster.unregister_worker_plugin("halting")
    for _ in range(9):  # whoever still reads the pipe goes on
        with suppress(OSError):
            os.close(os.open(notes / "pipe", os.O_WRONLY | os.O_NONBLOCK))
        time.sleep(0.02)


def test_a_shard_that_hangs_is_done_by_another_worker_and_not_waited_for(cluster, make_job, halting):
    job, pending, alone = make_job()
    halted, told = halting("spaceclip.extract.samples", "prepare_sample", times=1), []
    assert computed(cluster, job, pending, ignore, say=told.append, overdue_seconds=2) == 24
    assert files(job.store) == files(alone)
    ((_, address, _),) = halted()
    # Other lines tell of workers that have yet to load the encoder, if they were started anew just before.
    assert any(address in line and line.endswith("other workers do them too") for line in told)


def test_workers_killed_when_shards_are_half_written_cost_nothing_but_time(cluster, make_job, halting):
    job, pending, alone = make_job()
    halted = halting("spaceclip.cache.writer", "commit", times=3)
    half = []

    def kill(_done, _total, _workers):
        for process, _, shard in halted():
            if (process, shard) not in half:
                objects = {path.parent.parent for path in job.store.rglob(f"c/{shard}/**/*") if path.is_file()}
                assert len(objects) >= 4  # of an image, its pooled features and two states
                assert int(shard) not in StoreWriter(job.store, job.spec, {}).records
                half.append((process, shard))
                with suppress(ProcessLookupError):  # two of its threads may have been half done
                    os.kill(int(process), signal.SIGKILL)

    assert computed(cluster, job, pending, kill) == 24
    assert len(half) == 3
    assert len({process for process, _ in half}) >= 2
    assert files(job.store) == files(alone)


@pytest.fixture
def impatient(cluster):
    """The scheduler takes a worker for dead that is silent for six seconds."""

    def within(dask_scheduler: Any = None, seconds=6.0):
        before, dask_scheduler.worker_ttl = dask_scheduler.worker_ttl, seconds
        looking = dask_scheduler.periodic_callbacks["worker-ttl"]
        looking.stop()
        looking.callback_time = 1000 * seconds
        looking.start()
        return before

    before = cluster.run_on_scheduler(within)
    assert before == 60  # as short as that in use, and not the five minutes that are Dask's
    yield
    cluster.run_on_scheduler(within, seconds=before)


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_is_stopped_is_replaced(cluster, make_job):
    job, pending, alone = make_job()
    processes: Any = cluster.run(os.getpid)
    victim, victims = min(processes.values()), []

    def stop(done, _total, _workers):
        if done and not victims:
            victims.append(victim)
            os.kill(victim, signal.SIGSTOP)

    assert computed(cluster, job, pending, stop) == 24
    assert files(job.store) == files(alone)
    wait_until(lambda: not Path(f"/proc/{victim}").exists())
    cluster.wait_for_workers(2, timeout=60)


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


def test_a_run_waits_for_workers_and_gives_work_to_those_that_join(make_job, machines):
    job, pending, alone = make_job()
    told, workers = [], []
    machines.scheduler()
    with Client(scheduler_file=str(machines.file), timeout=30) as client:

        def join(done, _total, count):
            told.append(count)
            if told.count(0) == 2 or (told[-2:] == [1, 0] and len(workers) == 1):
                workers.append(machines.worker())
            if done and len(workers) == 1 and workers[0].poll() is None:
                workers[0].kill()

        assert computed(client, job, pending, join) == 24
    assert [count for at, count in enumerate(told) if at == 0 or told[at - 1] != count] == [0, 1, 0, 1]
    assert files(job.store) == files(alone)


def test_a_lost_scheduler_is_one_line_and_what_is_committed_stays(make_job, machines):
    job, pending, _ = make_job()
    scheduler = machines.scheduler()
    machines.worker()
    with Client(scheduler_file=str(machines.file), timeout=30) as client:

        def kill(done, _total, _workers):
            if done:
                scheduler.kill()

        with pytest.raises(SpaceClipError, match=r"the scheduler was lost .* committed shards are safe"):
            computed(client, job, pending, kill)
    committed = StoreWriter(job.store, job.spec, {}).records
    assert 1 <= len(committed) < len(pending)


def test_bad_input_on_a_worker_is_one_line_and_not_retried(cluster, make_job, tmp_path, pictures):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, pending, _ = make_job(images)
    content = (images / "013.png").read_bytes()
    (images / "013.png").write_bytes(content[:200] + bytes(len(content) - 200))
    with pytest.raises(SpaceClipError, match=r"013\.png") as caught:
        computed(cluster, job, pending, ignore)
    assert "\n" not in str(caught.value)


def test_a_worker_with_other_files_refuses(cluster, make_job, tmp_path, pictures):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, pending, _ = make_job(images)
    (images / "005.png").unlink()
    with pytest.raises(SpaceClipError, match="its files of the train split are not those of the run"):
        computed(cluster, job, pending, ignore)


def test_two_runs_on_one_cluster_do_not_mix(cluster, make_job, pictures, tmp_path):
    images = shutil.copytree(pictures, tmp_path / "images")
    (images / "000.png").unlink()
    job, pending, _ = make_job()
    inner, inner_pending, alone = make_job(images, "inner.zarr")
    done = []

    def meanwhile(_done, _total, _workers):
        if not done:
            done.append(computed(cluster, inner, inner_pending, ignore))

    assert computed(cluster, job, pending, meanwhile) == 24
    assert done == [23]
    assert files(inner.store) == files(alone)
    assert FeatureCache.open(job.store).digest != FeatureCache.open(inner.store).digest


def test_an_interrupted_run_leaves_nothing_to_the_workers_and_keeps_what_is_committed(cluster, make_job):
    job, pending, alone = make_job()

    def interrupt(done, _total, _workers):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        computed(cluster, job, pending, interrupt)
    plugins: Any = cluster.run(lambda dask_worker: [name for name in dask_worker.plugins if PLUGIN in name])
    assert list(plugins.values()) == [[], []]
    wait_until(lambda: not any(cluster.processing().values()))
    rest = StoreWriter(job.store, job.spec, {}).pending
    assert 0 < len(rest) < len(pending)
    computed(cluster, job, rest, ignore)
    assert files(job.store) == files(alone)


def test_ctrl_c_in_a_terminal_ends_the_processes_of_a_local_cluster(start_script):
    run = start_script(
        """
        import os
        from spaceclip.extract.connect import local_cluster
        os.setpgrp()
        with local_cluster(2, gpus=False) as client:
            print(*client.run(os.getpid).values())
            client.submit(__import__("time").sleep, 600).result()
        """
    )
    with run:
        workers = list(map(int, run.stdout.readline().split()))
        assert len(workers) == 2
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert said.count("Traceback") == 1
    assert said.endswith("KeyboardInterrupt\n")
    assert not [process for process in workers if Path(f"/proc/{process}").exists()]


def test_a_failure_that_repeats_is_one_line(cluster, make_job, tmp_path):
    job, pending, _ = make_job()
    counted = tmp_path / "tries"

    def fail():
        from spaceclip.extract import cluster as ours

        def extract(*given):
            with counted.open("a") as file:
                file.write(f"{given[1]}\n")
            raise RuntimeError("CUDA out of memory\nof device 0")

        worker: Any = ours.ShardWorker
        worker.real, worker.extract = worker.extract, extract

    def mend():
        from spaceclip.extract import cluster as ours

        worker: Any = ours.ShardWorker
        worker.extract = worker.real

    cluster.run(fail)
    try:
        with pytest.raises(SpaceClipError, match=r"shard \d+: failed .* 4 times, .* RuntimeError: CUDA out") as caught:
            computed(cluster, job, pending, ignore)
    finally:
        cluster.run(mend)
    assert "\n" not in str(caught.value)
    tries = counted.read_text().split()
    assert max(map(tries.count, tries)) == 4


def test_a_shard_that_kills_its_workers_is_one_line(cluster, make_job, monkeypatch):
    job, pending, _ = make_job()
    monkeypatch.setattr(cluster.cluster.scheduler, "allowed_failures", 0)
    processes: Any = cluster.run(os.getpid)

    def kill(done, _total, _workers):
        while done and processes:
            os.kill(processes.popitem()[1], signal.SIGKILL)

    with pytest.raises(SpaceClipError, match=r"shard \d+: 1 workers died while they had it") as caught:
        computed(cluster, job, pending, kill)
    assert "\n" not in str(caught.value)
    cluster.wait_for_workers(2, timeout=60)


def test_shards_that_do_not_fit_a_workers_memory_are_refused(cluster, make_job):
    job, pending, _ = make_job()

    def limit(dask_worker: Any = None, to=None):
        before, dask_worker.memory_manager.memory_limit = dask_worker.memory_manager.memory_limit, to
        return before

    before: Any = cluster.run(limit, to=1000)
    try:
        with pytest.raises(SpaceClipError, match=r"it may use 0\.0 GB of memory, .* fewer images a shard"):
            computed(cluster, job, pending, ignore)
    finally:
        cluster.run(limit, to=next(iter(before.values())))


def test_the_dashboard_is_named_only_where_there_is_one(cluster):
    found = dashboard(cluster)
    assert ("pip install bokeh" in found) == (find_spec("bokeh") is None)


def test_what_travels_to_a_worker_is_small(make_job):
    job, _, _ = make_job()
    assert len(pickle.dumps(ShardWorker(job))) < 10_000


def test_more_workers_than_gpus_are_refused():
    with pytest.raises(SpaceClipError, match=r"--workers 99 --gpus: \d+ GPUs are here"), local_cluster(99, gpus=True):
        pass
