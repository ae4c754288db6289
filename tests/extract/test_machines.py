"""Clusters that come, go, and are lost: schedulers and workers as processes of their own, as on several machines."""

import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client
from jobs import computed, files, lay_out, save_pictures
from spaceclip.cache import SpaceClipError, StoreWriter
from spaceclip.cache.cluster import connection as connect
from spaceclip.cache.cluster import local_cluster
from spaceclip.cache.cluster import scheduling as flight
from warm import Forked


@pytest.fixture
def make_job(tiny_config, tmp_path):
    (tmp_path / "pictures").mkdir()
    return lambda: lay_out(tiny_config, save_pictures(tmp_path / "pictures"), tmp_path)


@pytest.fixture
def machines(tmp_path):
    """A scheduler and workers as processes of their own, as on a cluster."""
    file, started = tmp_path / "scheduler.json", []

    def start(kind, *options):
        started.append(Forked("-m", f"distributed.cli.dask_{kind}", "--scheduler-file", file, *options))
        return started[-1]

    yield SimpleNamespace(
        file=file,
        scheduler=lambda: start("scheduler", "--port", 0, "--no-dashboard", "--host", "127.0.0.1"),
        worker=lambda: start("worker", "--nthreads", 1, "--no-dashboard", "--no-nanny"),
    )
    for process in reversed(started):
        with process:
            pass


def test_a_run_waits_for_workers_and_gives_work_to_those_that_join(make_job, machines, monkeypatch):
    monkeypatch.setattr(flight, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(flight, "_LOOK_SECONDS", 0.15)
    job, pending, alone = make_job()
    told, workers, said = [], [], []
    machines.scheduler()
    with Client(scheduler_file=str(machines.file), timeout=30) as client:

        def join(done, _total, count):
            told.append(count)
            if told.count(0) == 2 or (told[-2:] == [1, 0] and len(workers) == 1):
                workers.append(machines.worker())
            if done and len(workers) == 1 and workers[0].poll() is None:
                workers[0].kill()

        assert computed(client, job, pending, join, say=said.append) == 24
        assert said[0].endswith(f"waiting for some (`dask worker {client.scheduler_info()['address']}`)")
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

        with pytest.raises(SpaceClipError, match=r"the scheduler was lost .* what is saved is safe"):
            computed(client, job, pending, kill)
    committed = StoreWriter(job.store, job.spec, {}).records
    assert 1 <= len(committed) < len(pending)


def test_ctrl_c_in_a_terminal_ends_the_processes_of_a_local_cluster(start_script, tmp_path):
    run = start_script(
        f"""
        import os, time
        from pathlib import Path
        from spaceclip.cache.cluster import local_cluster
        os.setpgrp()
        with local_cluster(2, gpus=False) as client:
            print(*client.run(os.getpid).values())
            client.submit(lambda: (Path("{tmp_path / "begun"}").touch(), time.sleep(600))).result()
        """
    )
    with run:
        workers = list(map(int, run.stdout.readline().split()))
        assert len(workers) == 2
        while not (tmp_path / "begun").exists():
            assert run.poll() is None
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert said.count("Traceback") == 1
    assert said.endswith("KeyboardInterrupt\n")
    assert not [process for process in workers if Path(f"/proc/{process}").exists()]


def test_more_workers_than_gpus_are_refused():
    with pytest.raises(SpaceClipError, match=r"--workers 99 --gpus: \d+ GPUs are here"), local_cluster(99, gpus=True):
        pass


@pytest.mark.parametrize(
    ("given", "each"),
    [
        (None, ["0", "1"]),
        ("4,5,6,7", ["4", "5"]),
        ("GPU-8932f937, MIG-7c1a", ["GPU-8932f937", "MIG-7c1a"]),
    ],
)
def test_the_gpus_of_workers_are_those_that_the_user_was_given(monkeypatch, given, each):
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    asked = {}

    def cluster(workers, **_more):
        asked.update(workers)
        return nullcontext()

    monkeypatch.setattr(connect, "SpecCluster", cluster)
    monkeypatch.setattr(connect, "Client", lambda _cluster: nullcontext())
    with local_cluster(2, gpus=True):
        pass
    assert [asked[number]["options"]["env"]["CUDA_VISIBLE_DEVICES"] for number in range(2)] == each
