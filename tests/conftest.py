"""What the tests of several rooms use: servers on loopback, made-up data sets, a folder's content."""

import os
import signal
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from dask.config import set as configured
from faultproxy import FaultProxy
from hypothesis import settings
from madeup import MadeUp
from s3server import S3
from spaceclip.cache.places import bucket
from warm import Forked
from webserver import Web

# A shell that starts tests in the background has them, and so what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's affair.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk():
    """What a test writes need not outlive the machine; syncing it takes nine tenths of the time of a small store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _file: None)
        yield


@pytest.fixture(autouse=True)
def _threads_stay():
    """Workers in this process set its number of threads, which decides the last bits of what later tests compute."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def patience(monkeypatch):
    """Sets how often a bucket's client tries again; in a fiftieth of the time that it does in earnest."""

    def be(retries):
        backoff = {"init_backoff": timedelta(seconds=0.01), "max_backoff": timedelta(seconds=0.1), "base": 10}
        monkeypatch.setattr(bucket, "RETRY", {**bucket.RETRY, "max_retries": retries, "backoff": backoff})

    return be


@pytest.fixture
def s3(patience):
    """A server where `s3://bucket` leads."""
    patience(12)
    with S3("bucket") as server, server.reached():
        yield server


@pytest.fixture
def no_network(monkeypatch):
    """No name of the network is known; gives the names that were asked for."""
    asked = []

    def fail(name, *_, **__):
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    return asked


@pytest.fixture
def proxy(s3):
    """The network before that server."""
    with FaultProxy(s3.port) as proxy, s3.reached(proxy.port):
        yield proxy


@pytest.fixture
def web():
    """A server of files."""
    with Web() as server:
        yield server


@pytest.fixture(scope="module")
def forked_workers():
    """Workers of a Dask cluster of this machine, also those started anew, are forked from a process that is warm."""
    Forked("-c", "").communicate()  # the server is running before Dask would start one that imports less
    with configured({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield


@pytest.fixture
def made_up():
    """Writes small data sets in the official layouts."""
    return MadeUp


@pytest.fixture
def contents():
    """Every file of a folder with its bytes, but for the times that extraction keeps beside stores."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".rate")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
