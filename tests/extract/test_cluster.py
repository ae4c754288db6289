import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from distributed import WorkerPlugin
from jobs import SETTINGS, computed, files, ignore, lay_out, save_pictures
from spaceclip.cache import FeatureCache, SpaceClipError, StoreWriter, stored_bytes
from spaceclip.cache.cluster import connected, dashboard, local_cluster, scheduling
from spaceclip.cache.cluster.plugins import PLUGIN
from spaceclip.extract.cluster.driver import extract_on_cluster
from spaceclip.extract.remaining import Work


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def cluster(forked_workers):
    with local_cluster(2, gpus=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def make_job(tiny_config, pictures, tmp_path):
    def make(images=pictures, name="together.zarr", settings=SETTINGS):
        return lay_out(tiny_config, images, tmp_path, name, settings)

    return make


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


def test_what_each_stage_did_is_the_sum_of_the_workers(cluster, make_job):
    job, pending, _ = make_job()
    start = time.perf_counter()
    found = extract_on_cluster(cluster, job, Work(job.spec, list(pending)), ignore)
    assert found is not None
    assert (found.images, found.workers, set(found.rates)) == (24, 2, {"decoding", "encoding", "writing"})
    assert found.stages["decoding"].threads == 4  # two each
    assert 0 < found.seconds < time.perf_counter() - start
    assert found.bytes == stored_bytes(FeatureCache.open(job.store))


def test_progress_counts_the_images_of_shards_that_are_under_way(cluster, make_job, monkeypatch):
    monkeypatch.setattr(scheduling, "_LOOK_SECONDS", 0.1)
    job, pending, _ = make_job(settings=SETTINGS.model_copy(update={"batch_size": 1, "shard": 24}))

    def slow(pause):
        from spaceclip.extract.cluster import worker
        from spaceclip.extract.engine.device import HostDevice

        device: Any = HostDevice
        real = getattr(device, "real", device.encode)

        def encode(*given, **more):
            time.sleep(pause)
            return real(*given, **more)

        device.real, device.encode, worker.REPORT_SECONDS = real, encode if pause else real, pause or 0.5

    cluster.run(slow, 0.03)
    told = []
    try:
        computed(cluster, job, pending, lambda done, _total, _workers: told.append(done))
    finally:
        cluster.run(slow, 0)
    assert told == sorted(told)
    assert told[-1] == 24
    assert any(0 < done < 24 for done in told)


def test_processes_of_this_machine_listen_on_loopback_and_to_nobody_else(cluster, monkeypatch):
    addresses = [cluster.scheduler.address, *cluster.scheduler_info()["workers"]]
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
    monkeypatch.setattr("spaceclip.cache.cluster.connection._CONNECT_SECONDS", 1)
    with pytest.raises(SpaceClipError, match="no scheduler answers"), connected(addresses[0].replace("tls", "tcp")):
        pass


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


def test_a_shard_that_hangs_is_done_by_another_worker_and_not_waited_for(cluster, make_job, halting, monkeypatch):
    monkeypatch.setattr(scheduling, "OVERDUE_SECONDS", 1)
    monkeypatch.setattr(scheduling, "_LOOK_SECONDS", 0.2)
    job, pending, alone = make_job()
    halted, told = halting("spaceclip.extract.engine.engine", "prepare_sample", times=1), []
    assert computed(cluster, job, pending, ignore, say=told.append) == 24
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
    """The scheduler takes a worker for dead that is silent for five seconds."""

    def within(dask_scheduler: Any = None, seconds=5.0):
        before, dask_scheduler.worker_ttl = dask_scheduler.worker_ttl, seconds
        looking = dask_scheduler.periodic_callbacks["worker-ttl"]
        looking.stop()
        looking.callback_time = 100 * seconds
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


def test_bad_input_on_a_worker_is_one_line_and_not_retried(cluster, make_job, tmp_path, pictures):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, pending, _ = make_job(images)
    content = (images / "013.png").read_bytes()
    (images / "013.png").write_bytes(content[:200] + bytes(len(content) - 200))
    with pytest.raises(SpaceClipError, match=r"013\.png") as caught:
        computed(cluster, job, pending, ignore)
    assert "\n" not in str(caught.value)


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

    cluster.register_plugin(WorkerPlugin(), name=f"{PLUGIN}-0123/Client-killed")
    with pytest.raises(KeyboardInterrupt):
        computed(cluster, job, pending, interrupt)
    plugins: Any = cluster.run(lambda dask_worker: [name for name in dask_worker.plugins if PLUGIN in name])
    assert list(plugins.values()) == [[], []]
    wait_until(lambda: not any(cluster.processing().values()))
    rest = StoreWriter(job.store, job.spec, {}).pending
    assert 0 < len(rest) < len(pending)
    computed(cluster, job, rest, ignore)
    assert files(job.store) == files(alone)


@pytest.fixture
def fail(cluster):
    """Have `extract` fail on some workers, or on all."""

    def start(*workers, counted=os.devnull):
        def replace():
            from spaceclip.extract.cluster import worker as ours

            def extract(*given):
                with open(counted, "a") as file:  # noqa: PTH123
                    file.write(f"{min(given[1])}\n")
                raise RuntimeError("CUDA out of memory\nof device 0")

            plugin: Any = ours.ShardWorker
            plugin.real, plugin.extract = plugin.extract, extract

        cluster.wait_for_workers(2, timeout=60)
        cluster.run(replace, workers=list(workers) or None)

    def mend():
        from spaceclip.extract.cluster import worker as ours

        plugin: Any = ours.ShardWorker
        plugin.extract = getattr(plugin, "real", plugin.extract)

    yield start
    cluster.run(mend)


def test_a_failure_that_repeats_is_one_line(cluster, make_job, fail, tmp_path):
    job, pending, _ = make_job()
    fail(counted=tmp_path / "tries")
    with pytest.raises(SpaceClipError, match=r"shard \d+: failed .* 4 times, .* RuntimeError: CUDA out") as caught:
        computed(cluster, job, pending, ignore)
    assert "\n" not in str(caught.value)
    tries = (tmp_path / "tries").read_text().split()
    assert max(map(tries.count, tries)) == 4


def test_a_worker_that_fails_at_all_is_given_no_more_and_others_do_its_shards(cluster, make_job, fail, tmp_path):
    job, pending, alone = make_job(settings=SETTINGS.model_copy(update={"shard": 1}))
    (broken, sound), told, tries = sorted(cluster.nthreads()), [], tmp_path / "tries"

    def take_time():
        from spaceclip.extract.cluster import worker as ours

        plugin: Any = ours.ShardWorker
        plugin.real = real = plugin.extract

        def extract(*given):
            time.sleep(0.2)  # else it may have done all before the other has failed often enough
            return real(*given)

        plugin.extract = extract

    cluster.run(take_time, workers=[sound])
    fail(broken, counted=tries)
    assert computed(cluster, job, pending, ignore, say=told.append) == 24
    assert files(job.store) == files(alone)
    # Dask places the tasks, and now and then gives it but two: then it is not known to fail at all.
    known = len(tries.read_text().split()) >= 3
    assert [line.startswith(f"{broken} is given no more: it failed") for line in told] == [True] * known


def test_a_worker_whose_device_fails_in_mid_run_is_named_and_others_do_its_shards(cluster, make_job):
    job, pending, alone = make_job()
    broken, said = min(cluster.nthreads()), []

    def lose(lost):
        from spaceclip.extract.engine.device import HostDevice

        def encode(*_given, **_more):
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")

        device: Any = HostDevice
        device.sound = getattr(device, "sound", device.encode)
        device.encode = encode if lost else device.sound

    cluster.run(lose, True, workers=[broken])
    try:
        assert computed(cluster, job, pending, ignore, say=said.append) == 24
    finally:
        cluster.run(lose, False, workers=[broken])
    assert files(job.store) == files(alone)
    assert len(said) == 1
    assert said[0].startswith(f"{broken} is given no more: worker ")
    assert "cpu failed in mid-run and answers no more (CUDA error: unspecified launch failure)" in said[0]


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


def test_the_dashboard_is_named_only_where_there_is_one(cluster):
    assert (dashboard(cluster) is None) == (find_spec("bokeh") is None)
