"""What the driver of a cluster says to it and hears from it; the cluster is made up."""

from types import SimpleNamespace
from typing import Any

import pytest
from distributed.comm.core import CommClosedError
from jobs import lay_out, save_pictures
from spaceclip.cache import SpaceClipError
from spaceclip.extract.cluster import driver as cluster
from spaceclip.extract.cluster.driver import PLUGIN, extract_on_cluster
from spaceclip.extract.remaining import Work

SPEEDS = {"images": 24, "seconds": 2.0, "megabytes": 10.0}


class Cluster:
    """A client whose plugin arrives only after some failures, and of what is left on its scheduler."""

    id, status = "Client-ours", "running"

    def __init__(self, failures=0, plugins=(), clients=("Client-ours",), told=()):
        self.failures, self.plugins, self.clients, self.told = failures, list(plugins), set(clients), told
        self.topics: dict[str, Any] = {}
        self.scheduler = SimpleNamespace(unregister_worker_plugin=self.unregister)

    def register_plugin(self, _plugin, name):
        self.plugins.append(name)
        if self.failures:
            self.failures -= 1
            raise CommClosedError("in <TCP local=... remote=tcp://10.0.0.7:4321>: Stream is closed")

    def unregister(self, name, **_more):
        self.plugins.remove(name)

    def subscribe_topic(self, topic, handler):
        self.topics[topic] = handler

    def unsubscribe_topic(self, topic):
        del self.topics[topic]

    def run_on_scheduler(self, ask):
        return ask(dask_scheduler=SimpleNamespace(clients=self.clients, worker_plugins=self.plugins))

    def sync(self, call, **given):
        return call(**given)

    def get_events(self, _run):
        return [(0.0, event) for event in self.told]


class Flown:
    """A flight of one worker that does at once what it is given."""

    def __init__(self, *_given):
        self.open, self.able, self.workers = set(), 1, 1
        self.pool = SimpleNamespace(present={"tcp://started-anew"})

    def begin(self, shards):
        self.open.update(shards)

    def done(self):
        done, self.open = sorted(self.open), set()
        return done

    def release(self):
        pass


@pytest.fixture
def drive(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    job, pending, _ = lay_out(tiny_config, save_pictures(tmp_path / "pictures"), tmp_path)
    monkeypatch.setattr(cluster, "Flight", Flown)
    monkeypatch.setattr(cluster, "_REGISTER_PAUSE", 0.0)
    return lambda client: extract_on_cluster(client, job, Work(job.spec, pending), lambda *_: None)


def test_a_worker_that_dies_while_the_plugin_is_sent_is_not_the_scheduler_s_loss(drive):
    client = Cluster(failures=2)
    drive(client)
    assert client.failures == 0


def test_a_worker_that_stays_unreachable_is_named(drive):
    with pytest.raises(SpaceClipError, match=r"^a worker of the cluster cannot be reached .*10\.0\.0\.7:4321"):
        drive(Cluster(failures=99))


def test_the_scheduler_s_loss_is_told_from_it(drive):
    client = Cluster(failures=99)
    client.status = "connecting"
    with pytest.raises(SpaceClipError, match=r"^the scheduler was lost"):
        drive(client)


def test_what_killed_runs_left_is_cleared_up_and_nothing_else(drive):
    living, others = f"{PLUGIN}-123-a/Client-living", "somebody-else-s"
    client = Cluster(plugins=[f"{PLUGIN}-123-b/Client-killed", living, others], clients={"Client-living"})
    drive(client)
    assert client.plugins == [living, others]


def test_a_worker_that_was_started_anew_counts_once(drive):
    told = [
        {"worker": f"tcp://{name}", "ceilings": SPEEDS | {"rates": {"encoding": rate}}}
        for name, rate in (("first", 10.0), ("started-anew", 11.0), ("started-anew", 12.0))
    ]
    found = drive(Cluster(told=told))
    assert found.rates == {"encoding": 12.0}
    gone = drive(Cluster(told=told[:1]))
    assert gone.rates == {"encoding": 10.0}
