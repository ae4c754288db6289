"""Reaching a cluster: certificates, what others could reach, and Ctrl-C while workers start."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from distributed import Scheduler, Security, SpecCluster
from spaceclip.cache import SpaceClipError
from spaceclip.cache.cluster import certificates, connected


@pytest.fixture
def scheduler():
    """Starts a scheduler without workers on loopback; returns its address."""
    clusters = []

    def start(security=None):
        protocol = "tls://" if security else "tcp://"
        options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "protocol": protocol, "security": security}
        clusters.append(SpecCluster(scheduler={"cls": Scheduler, "options": options}, security=security))
        return clusters[-1].scheduler_address

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def tls(tmp_path):
    """Those of a cluster: as it has them itself, and as files."""
    security: Any = Security.temporary()
    files = {"ca": security.tls_ca_file, "cert": security.tls_client_cert, "key": security.tls_client_key}
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_text(content)
    return security, certificates(*(tmp_path / f"{name}.pem" for name in files))


def test_a_cluster_with_certificates_is_reached_by_who_has_them(scheduler, tls, tmp_path, monkeypatch):
    monkeypatch.setattr("spaceclip.cache.cluster.connection._CONNECT_SECONDS", 1)
    security, files = tls
    address, told = scheduler(security), []
    assert address.startswith("tls://127.0.0.1:")
    with connected(address, files, told.append) as client:
        assert client.scheduler_info()["workers"] == {}
    assert told == []
    for refused in (None, certificates(tmp_path / "ca.pem", tmp_path / "no.pem"), certificates(tmp_path, tmp_path)):
        with (
            pytest.raises(SpaceClipError, match=r"^--scheduler tls://\S+: no scheduler answers there \(") as caught,
            connected(address, refused),
        ):
            pass
        assert "\n" not in str(caught.value)


def test_a_cluster_that_anybody_can_reach_is_warned_of(scheduler):
    told = []
    with connected(scheduler(), say=told.append):
        pass
    (line,) = told
    assert re.match(
        r"--scheduler tcp://127.0.0.1:\d+ is not encrypted, and who reaches its port can run code as you", line
    )
    assert "--tls-ca, --tls-cert, --tls-key" in line


def test_that_a_scheduler_is_lost_is_not_said_by_dask_too(scheduler, monkeypatch):
    monkeypatch.setattr(logging.getLogger("distributed.client"), "level", logging.WARNING)
    with connected(scheduler()):
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


def _children(process: int) -> list[str]:
    with suppress(FileNotFoundError):  # it has ended
        return [
            child for file in Path(f"/proc/{process}/task").glob("*/children") for child in file.read_text().split()
        ]
    return []


STARTING = """
from spaceclip.cache.cluster import local_cluster
try:
    with local_cluster(1, gpus=False):
        print("started")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_while_workers_start_is_said_by_nobody_but_the_run(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-c", STARTING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while run.poll() is None and len(_children(run.pid)) < 2:  # a worker, and what keeps track of it
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    assert run.communicate(timeout=60) == ("interrupted\n", "")
