"""What a worker does with a shard, in this process: what it is told, when it refuses, and when it commits nothing."""

import errno
import pickle
import shutil
import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from distributed import Client
from jobs import SETTINGS, files, lay_out, save_pictures
from spaceclip.cache import Entry, SpaceClipError, StoreWriter, parts, writer
from spaceclip.cache.cluster import Chosen, MachineError, TaskFailedError, WorkerUnfitError, cores_here
from spaceclip.extract import BackboneSettings, FolderData, KittiData, extract, load_backbone, open_splits
from spaceclip.extract import settings as settings_module
from spaceclip.extract.cluster import Cluster, encoders, environment_here, worker
from spaceclip.extract.cluster.worker import ShardWorker, extract_shards
from spaceclip.extract.engine import Engine, HostDevice, ShardUnderWay, sinks
from spaceclip.extract.paths import absolute, absolute_backbone
from spaceclip.extract.remaining import NOTHING
from spaceclip.extract.sources.folder.raster import damaged


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def split(tiny_config, pictures, tmp_path):
    return lay_out(tiny_config, pictures, tmp_path)


@pytest.fixture
def start(monkeypatch):
    """Has a worker have the plugin of a job, as Dask does."""
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: None)
    threads, begun = torch.get_num_threads(), []

    def begin(job, memory=None):
        plugin = pickle.loads(pickle.dumps(ShardWorker(job, "run")))
        limits = SimpleNamespace(memory_limit=memory)
        plugin.setup(SimpleNamespace(memory_manager=limits, address="tcp://node7:1", log_event=lambda *_: None))
        begun.append(plugin)
        return plugin

    yield begin
    for plugin in begun:
        plugin.teardown(None)
    torch.set_num_threads(threads)


def test_its_shards_are_those_of_one_machine(split, start):
    plugin = start(split.job)
    for shard in split.pending:
        plugin.extract({shard: NOTHING})
    assert files(split.job.store) == files(split.alone)


def test_what_travels_does_not_grow_with_the_samples(split):
    many = replace(split.job.spec, entries=[Entry(f"{number:06d}", "scene", "1") for number in range(20_000)])
    assert len(pickle.dumps(ShardWorker(replace(split.job, spec=many), "run"))) < 10_000


@pytest.mark.parametrize("when", ["before its first object", "between two", "before its record"])
def test_a_worker_that_wakes_leaves_alone_what_another_committed(split, start, monkeypatch, when):
    """What it has computed itself is other than that, as it were on hardware of another kind."""
    monkeypatch.setattr(sinks, "connections", lambda _path: 1)
    sleeper, other = start(split.job), start(split.job)
    complete, require, asked = ShardUnderWay.complete, StoreWriter._require_uncommitted, []
    objects = len(parts(split.job.spec))
    wakes = {"before its first object": 1, "between two": 3, "before its record": objects + 1}[when]

    def alter(shard):
        complete(shard)
        if not asked:
            for feature in shard.buffer.features.values():
                feature.rows[:] += 1

    def sleep(writer, shard):
        asked.append(shard)
        if len(asked) == wakes:
            other.extract({3: NOTHING})
        require(writer, shard)

    monkeypatch.setattr(ShardUnderWay, "complete", alter)
    monkeypatch.setattr(StoreWriter, "_require_uncommitted", sleep)
    sleeper.extract({3: NOTHING})
    assert len(asked) > objects + 1
    whole = files(split.alone)
    assert [name for name, content in files(split.job.store).items() if whole[name] != content] == []


def test_what_is_committed_already_is_not_computed_again(split, start, monkeypatch):
    start(split.job).extract({2: NOTHING})
    submitted, submit = [], Engine.submit
    monkeypatch.setattr(
        Engine,
        "submit",
        lambda engine, work, shard, *more: submitted.append(shard) or submit(engine, work, shard, *more),
    )
    start(split.job).extract({2: NOTHING, 3: NOTHING})
    assert submitted == [3]


def test_when_the_run_ends_between_data_and_record_nothing_is_committed(split, start, monkeypatch):
    plugin, write = start(split.job), StoreWriter._write_part

    def end(*given):
        plugin.teardown(None)
        return write(*given)

    monkeypatch.setattr(StoreWriter, "_write_part", end)
    with pytest.raises(InterruptedError, match="the run has ended"):
        plugin.extract({0: NOTHING})
    assert StoreWriter(split.job.store, split.job.spec, {}).records == {}


def test_it_does_not_read_the_ledger(split, start, monkeypatch):
    plugin = start(split.job)
    monkeypatch.setattr(writer, "read_ledger", lambda *_: pytest.fail("the ledger was read"))
    plugin.extract({0: NOTHING})


def test_a_worker_with_other_files_refuses(tiny_config, pictures, tmp_path, start):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, _, _ = lay_out(tiny_config, images, tmp_path)
    (images / "005.png").unlink()
    with pytest.raises(WorkerUnfitError, match=r"^worker \S+: its files of the train split are not those of the run"):
        start(job).extract({0: NOTHING})


def test_a_worker_without_the_data_refuses(tiny_config, pictures, tmp_path, start):
    job, _, _ = lay_out(tiny_config, shutil.copytree(pictures, tmp_path / "images"), tmp_path)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(WorkerUnfitError, match=r"^worker \S+: the images folder .* does not exist"):
        start(job).extract({0: NOTHING})


def test_a_worker_without_the_store_refuses_and_makes_none(split, start, tmp_path):
    job = replace(split.job, store=tmp_path / "elsewhere.zarr")
    with pytest.raises(WorkerUnfitError, match=r"^worker \S+: the store .*elsewhere\.zarr is not there"):
        start(job).extract({0: NOTHING})
    assert not (tmp_path / "elsewhere.zarr").exists()


def test_a_worker_with_another_encoder_refuses(split, start):
    job = replace(split.job, backbone=split.job.backbone.model_copy(update={"seed": 1}))
    with pytest.raises(WorkerUnfitError, match=r"^worker \S+: its encoder is .*seed 1.*, the run's .*seed 0"):
        start(job).extract({0: NOTHING})


def test_a_worker_that_cannot_make_the_host_refuses(split, start):
    job = replace(split.job, backbone=split.job.backbone.model_copy(update={"name": "host:not_there:tower"}))
    with pytest.raises(WorkerUnfitError, match=r"^worker \S+: host not_there:tower: it cannot be made here \(Module"):
        start(job).extract({0: NOTHING})


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"device": "cuda sm_90"}, r"it computes on cpu .*, the run on cuda sm_90$"),
        ({"libraries": (("torch", "1.0"),)}, r"it has torch .*, the run 1\.0: install the same version$"),
    ],
)
def test_a_worker_of_another_device_or_library_refuses_before_it_lists_a_file(split, start, monkeypatch, run, reason):
    monkeypatch.setattr(worker, "open_splits", lambda _data: pytest.fail("files were listed"))
    chosen = split.job.chosen
    environment = chosen.environment
    libraries = dict(environment.libraries) | dict(run.get("libraries", ()))
    wanted = replace(environment, **(run | {"libraries": tuple(libraries.items())}))
    with pytest.raises(WorkerUnfitError, match=rf"^worker \S+: {reason}"):
        start(replace(split.job, chosen=replace(chosen, environment=wanted))).extract({0: NOTHING})


def test_workers_that_share_cores_take_their_share_of_them(split, start, monkeypatch):
    for module in (encoders, settings_module):
        monkeypatch.setattr(module, "CPU_COUNT", 8)
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)

    def engine(*given, **more):
        threads.append(more["threads"])
        return Engine(*given, **more)

    monkeypatch.setattr(worker, "Engine", engine)
    chosen = replace(split.job.chosen, sharing={cores_here(): 4})
    settings = split.job.settings.model_copy(update={"threads": None})
    start(replace(split.job, chosen=chosen, settings=settings)).extract({})
    assert threads == [2, 2]


def test_one_encoder_serves_all_splits_of_a_run_and_is_forgotten_with_it(split, start, monkeypatch):
    loaded = []

    def load(*given, **more):
        loaded.append(more)
        return load_backbone(*given, **more)

    monkeypatch.setattr(encoders, "_loaded", lru_cache(maxsize=1)(load))
    for _ in range(2):
        start(split.job).extract({})
    assert len(loaded) == 1
    encoders.EncoderKeeper().teardown(None)
    start(split.job).extract({})
    assert len(loaded) == 2


def test_shards_that_do_not_fit_a_workers_memory_are_refused(split, start):
    with pytest.raises(WorkerUnfitError, match=r"it may use 1\.0 kB of memory, .* fewer images a shard"):
        start(split.job, memory=1000).extract({0: NOTHING})


def test_bad_input_is_the_data_s_fault_and_not_the_worker_s(tiny_config, pictures, tmp_path, start):
    images = shutil.copytree(pictures, tmp_path / "images")
    job, _, _ = lay_out(tiny_config, images, tmp_path)
    content = (images / "001.png").read_bytes()
    (images / "001.png").write_bytes(content[:200] + bytes(len(content) - 200))
    with pytest.raises(SpaceClipError, match=r"001\.png") as caught:
        start(job).extract({0: NOTHING})
    assert not isinstance(caught.value, WorkerUnfitError)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), "cpu failed in mid-run and answers no more"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_worker_whose_device_fails_is_unfit_and_its_shards_may_be_done_elsewhere(
    split, start, monkeypatch, error, reason
):
    def fail(*_given, **_more):
        raise error

    plugin = start(split.job)
    monkeypatch.setattr(HostDevice, "encode", fail)
    for shard in (0, 1):
        with pytest.raises(WorkerUnfitError, match=rf"^worker \S+: {reason}"):
            plugin.extract({shard: NOTHING})


@pytest.fixture(params=["hangs", "is refused"])
def failing_reads(request, monkeypatch):
    """Reading does not work on this machine; how it does not."""
    hanging = threading.Event()
    monkeypatch.setattr("spaceclip.extract.reading.HANG_SECONDS", 0.2)

    def read(*_given):
        if request.param == "hangs":
            hanging.wait(20)
        error = OSError(errno.ESTALE, "Stale file handle")
        raise damaged(Path("001.png"), error) from error

    def begin():
        monkeypatch.setattr("spaceclip.extract.engine.engine.prepare_sample", read)

    yield begin
    hanging.set()


@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_files_that_fail_here_may_not_fail_elsewhere(split, start, failing_reads, on_error):
    plugin = start(replace(split.job, on_error=on_error))
    plugin.extract({})
    failing_reads()
    with pytest.raises(MachineError, match=r"^00[01].* (network mount|Stale file handle)"):
        plugin.extract({0: NOTHING}, elsewhere=True)
    assert StoreWriter(split.job.store, split.job.spec, {}).records == {}
    if on_error == "quarantine":
        plugin.extract({0: NOTHING})
        (record,) = StoreWriter(split.job.store, split.job.spec, {}).records.values()
        assert [sample.row for sample in record.quarantined] == [0, 1]


def test_a_store_that_cannot_be_written_to_here_may_be_elsewhere(split, start, monkeypatch):
    def refuse(*_given):
        raise OSError(errno.EROFS, "Read-only file system")

    plugin = start(split.job)
    plugin.extract({})
    monkeypatch.setattr(StoreWriter, "_write_part", refuse)
    with pytest.raises(
        MachineError, match=r"shard 0 could not be written \(Read-only file system\); the shards commit"
    ):
        plugin.extract({0: NOTHING})


def test_what_fails_says_on_which_worker(split, start, monkeypatch):
    plugin = start(split.job, memory=1000)
    state = SimpleNamespace(long_running=())
    host = SimpleNamespace(plugins={"run": plugin}, address="tcp://node7:4321", state=state)
    monkeypatch.setattr(worker, "get_worker", lambda: host)
    monkeypatch.setattr(worker, "secede", lambda: None)
    with pytest.raises(TaskFailedError) as caught:
        extract_shards("run", 0, ({0: NOTHING}, False))
    travelled = pickle.loads(pickle.dumps(caught.value))
    assert travelled.worker == "tcp://node7:4321"
    assert isinstance(travelled.error, WorkerUnfitError)


@pytest.fixture
def fill_elsewhere(start, monkeypatch, tmp_path):
    """The `fill` of a cluster whose one worker is this process, started in another folder."""

    def on_worker(_client, job, work, _watch, **_more):
        with monkeypatch.context() as there:
            there.chdir(tmp_path)
            plugin = start(job)
            plugin.extract({shard: work.known_of(shard) for shard in work.shards})

    monkeypatch.setattr("spaceclip.extract.cluster.driver.extract_on_cluster", on_worker)
    client = cast("Client", None)
    chosen = Chosen(environment_here("cpu", "float32"), (), {cores_here(): 1})

    def fill(data, named):
        return Cluster(client, data, named, "cpu", chosen, SETTINGS, "quarantine").fill("train")

    return fill


@pytest.fixture
def home(tiny_config, pictures, tmp_path, monkeypatch):
    """A folder of its own, where runs are started, with an encoder and images of which one is bad."""
    (home := tmp_path / "home").mkdir()
    shutil.copytree(pictures, home / "images")
    shutil.copy(tiny_config, home / "config.json")
    content = (home / "images/001.png").read_bytes()
    (home / "images/001.png").write_bytes(content[:200] + bytes(len(content) - 200))
    monkeypatch.chdir(home)
    return home


def test_relative_paths_and_what_is_mended_leave_the_bytes_of_one_machine(home, pictures, fill_elsewhere):
    data = FolderData(images=Path("images"))
    named = BackboneSettings(name="random:config.json", precision="float32")
    source, backbone = open_splits(data)["train"], load_backbone(named.name, precision="float32")

    def run(folder, **more):
        done = extract(source, backbone, SETTINGS, Path(folder), "train", {}, on_error="quarantine", **more)
        return done.quarantined, files(Path(folder))

    fill = fill_elsewhere(data, named)
    bad, found = run("there", fill=fill)
    assert [sample.reason.partition(" ")[0] for sample in bad] == ["images/001.png"]
    assert found == run("alone")[1]
    shutil.copy(pictures / "001.png", home / "images")
    bad, found = run("there", fill=fill, retry_quarantined=True)
    assert bad == ()
    assert found == run("alone", retry_quarantined=True)[1]


class TestPaths:
    def test_all_of_a_data_set_s_become_absolute_and_nothing_else(self):
        data = FolderData.model_validate(
            {"images": "rgb", "depth": "/data/depth", "manifest": "../list.csv", "val": {"images": "val"}}
        )
        there = absolute(data, Path("/home/me"))
        assert (there.images, there.depth, there.manifest) == tuple(
            map(Path, ("/home/me/rgb", "/data/depth", "/home/me/../list.csv"))
        )
        assert there.val is not None
        assert there.val.images == Path("/home/me/val")
        assert there.model_dump(exclude={"images", "manifest", "val"}) == data.model_dump(
            exclude={"images", "manifest", "val"}
        )
        kitti = KittiData(root=Path("kitti"), train_list=Path("lists/train.txt"))
        assert absolute(kitti, Path("/home/me")).train_list == Path("/home/me/lists/train.txt")
        assert absolute(there, Path("/elsewhere")) == there

    def test_an_encoder_s_too_unless_it_is_a_hub_s(self, tmp_path):
        (tmp_path / "clip").mkdir()

        def name(given):
            return absolute_backbone(BackboneSettings(name=given), tmp_path).name

        assert name("clip") == f"{tmp_path}/clip"
        assert name("random:clip") == f"random:{tmp_path}/clip"
        assert name("openai/clip-vit-base-patch16") == "openai/clip-vit-base-patch16"
