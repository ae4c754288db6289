"""What the driver of a cluster says to it and hears from it; the cluster, its cards too, is made up."""

from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from distributed.comm.core import CommClosedError
from jobs import lay_out, save_pictures
from spaceclip.cache import SpaceClipError
from spaceclip.cache.cluster import Environment, plugins
from spaceclip.cache.cluster.plugins import PLUGIN
from spaceclip.extract import (
    BackboneSettings,
    DatasetExtraction,
    ExtractSettings,
    FolderData,
    RunOptions,
    open_splits,
)
from spaceclip.extract.cluster import driver as cluster
from spaceclip.extract.cluster.driver import extract_on_cluster
from spaceclip.extract.cluster.encoders import choose_batch
from spaceclip.extract.engine.receipt import Receipt, StageReceipt
from spaceclip.extract.remaining import Work

RECEIPT = Receipt(24, 10**7, 2.0, {"encoding": StageReceipt(1, 1.0)})


class Cluster:
    """A client whose plugin arrives only after some failures, and of what is left on its scheduler."""

    id, status = "Client-ours", "running"

    def __init__(self, failures=0, plugins=(), clients=("Client-ours",), news=()):
        self.failures, self.plugins, self.clients, self.news = failures, list(plugins), set(clients), news
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
        for said in self.news:
            handler((0.0, said))

    def unsubscribe_topic(self, topic):
        del self.topics[topic]

    def run_on_scheduler(self, ask):
        return ask(dask_scheduler=SimpleNamespace(clients=self.clients, worker_plugins=self.plugins))

    def sync(self, call, **given):
        return call(**given)


class Flown:
    """A flight of one worker that does at once what it is given."""

    def __init__(self, *_given):
        self.open, self.able = set(), 1
        self.pool = SimpleNamespace(present={"tcp://started-anew"}, fit={"tcp://started-anew"})

    def begin(self, shards):
        self.open.update(shards)

    def done(self):
        done, self.open = sorted(self.open), set()
        return done

    def close(self):
        pass


@pytest.fixture
def drive(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    job, pending, _ = lay_out(tiny_config, save_pictures(tmp_path / "pictures"), tmp_path)
    monkeypatch.setattr(cluster, "Flight", Flown)
    monkeypatch.setattr(plugins, "_REGISTER_PAUSE", 0.0)

    def on(client, say=lambda _line: None):
        return extract_on_cluster(client, job, Work(job.spec, pending), lambda *_: None, say=say)

    return on


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


@pytest.mark.parametrize(
    ("images", "batch", "groups"),
    [
        (64, 16, [[0], [1], [2], [4], [5], [9]]),
        (64, 256, [[0, 1, 2], [4, 5], [9]]),
        (64, 48, [[0, 1, 2], [4, 5], [9]]),
        (64, 100, [[0, 1], [2], [4, 5], [9]]),
    ],
)
def test_shards_whose_rows_share_batches_go_to_one_worker_together(images, batch, groups):
    found = cluster.sharing_batches([0, 1, 2, 4, 5, 9], images, batch)
    assert found == {group[0]: group for group in groups}


def test_what_workers_have_to_say_is_passed_on(drive):
    line, said = "tcp://node7: out of memory on cuda: going on with batches of 64 images", []
    drive(Cluster(news=[line, (0, 5)]), said.append)
    assert said == [line]


def test_a_worker_that_was_started_anew_counts_once(drive):
    told = [
        (f"tcp://{name}", asdict(replace(RECEIPT, bytes=size)))
        for name, size in (("first", 10), ("started-anew", 11), ("started-anew", 12))
    ]
    found = drive(Cluster(news=told))
    assert (found.bytes, found.images, found.workers) == (12, 24, 1)
    assert drive(Cluster(news=told[:1])).bytes == 10


class Cards(Cluster):
    """Workers that have cards, and try out how many images fit."""

    def __init__(self, *kinds):
        super().__init__()
        self.kinds = kinds

    def run(self, _ask, here, **_more):
        assert here.args == ("auto", "auto")
        there = enumerate(Environment(kind, "float16", (("torch", "2.9.0"),)) for kind in self.kinds)
        return {f"tcp://{number}": (environment, f"node{number} f") for number, environment in there}

    def submit(self, task, encoder, *_given, workers, **_more):
        assert (task, encoder.precision) == (choose_batch, "float16")
        assert [self.kinds[int(worker[-1])] for worker in workers] == ["cuda sm_80"] * len(workers)
        return SimpleNamespace(result=lambda: 8)


@pytest.fixture
def extract_on(tiny_config, tmp_path, monkeypatch):
    """Extracts on made-up workers that do nothing, from a machine without a card; returns what they are told."""
    (tmp_path / "pictures").mkdir()
    data, jobs, said = FolderData(images=save_pictures(tmp_path / "pictures")), [], []

    def idle(_client, job, *_given, **_more):
        jobs.append(job)
        raise InterruptedError

    def silent(*_) -> Any:
        return nullcontext(lambda *_: None)

    def extract(*kinds):
        monkeypatch.setattr(cluster, "extract_on_cluster", idle)
        monkeypatch.setattr("spaceclip.cache.cluster.dashboard", lambda _client: "there")
        monkeypatch.setattr("spaceclip.cache.cluster.connection.connected", lambda *_: nullcontext(Cards(*kinds)))
        run = DatasetExtraction(
            *(data, {"all": open_splits(data)["train"]}, ("all",), BackboneSettings(name=f"random:{tiny_config}")),
            *(ExtractSettings(layers=(0, 2), shard=2), tmp_path / "features"),
            RunOptions(torch.device("cpu"), scheduler="tls://head:8786"),
            *(said.append, silent),
        )
        with suppress(InterruptedError):
            list(run.run())
        return jobs[-1], said

    return extract


def test_a_machine_without_a_card_drives_workers_that_have_one(extract_on):
    job, said = extract_on("cuda sm_80", "cuda sm_80")
    assert job.chosen.environment.device == "cuda sm_80"
    assert job.spec.identity["computed"] == {"device": "cuda sm_80", "batch": 8}
    assert job.spec.identity["backbone"]["precision"] == job.backbone.precision == "float16"
    assert said[0] == "dashboard: there"
    assert said[1].startswith("extract all: 24 of 24 images to compute (12 of 12 shards), about ")
    assert " GB free) (tried 1 image in " in said[1]  # whose time is not known here
    assert len(said) == 2


def test_a_store_that_was_begun_decides_which_workers_go_on_with_it(extract_on):
    extract_on("cuda sm_80")
    job, said = extract_on("cuda sm_90", "cuda sm_80", "cuda sm_90")
    assert job.chosen.environment.device == "cuda sm_80"
    assert said[-2] == (
        "the workers differ, 2 on cuda sm_90 in float16, 1 on cuda sm_80 in float16: the run takes those on cuda sm_80 "
        "in float16"
    )


def test_with_no_worker_of_the_kind_that_a_store_was_begun_on_it_is_refused_in_a_line(extract_on):
    extract_on("cuda sm_80")
    with pytest.raises(SpaceClipError, match=r"was begun on cuda sm_80, this run computes on cuda sm_90") as caught:
        extract_on("cuda sm_90")
    assert "\n" not in str(caught.value)
