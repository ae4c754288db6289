"""Extraction into a bucket, done for real: the bytes of a folder, whatever the network and the processes do."""

import json
import time
from functools import partial
from threading import Timer

import numpy as np
import pytest
from dask.config import set as configured
from PIL import Image
from spaceclip.cache import Batches, FeatureCache, SpaceClipError, locate, verify
from spaceclip.cache.cluster import choose_environment, local_cluster
from spaceclip.cache.places import lease
from spaceclip.extract import BackboneSettings, ExtractSettings, FolderData, extract, load_backbone, open_splits
from spaceclip.extract.cluster import Cluster, environment_here

SETTINGS = ExtractSettings(layers=(0, 2), batch_size=3, shard=4)
OUT = locate("s3://bucket/features/x")


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def whole(make_frames, backbone, tmp_path, contents):
    """What an undisturbed extraction of so many frames leaves in a folder, by key."""

    def make(count, settings=SETTINGS):
        extract(make_frames(count), backbone, settings, tmp_path / "whole", "train", {})
        return contents(tmp_path / "whole")

    return make


def objects(s3, prefix="features/x/"):
    """What a bucket holds, but for the times that extraction keeps beside stores."""
    held = s3.buckets["bucket"].items()
    return {key.removeprefix(prefix): content for key, content in held if not key.endswith(".rate")}


def committed(s3):
    return sum("/ledger/" in key for key in s3.buckets["bucket"])


@pytest.mark.usefixtures("forked_workers")
def test_a_cluster_fills_a_bucket_with_the_bytes_of_one_machine(s3, tiny_config, tmp_path, contents):
    draw = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        Image.fromarray(draw.integers(0, 256, (24, 36, 3), dtype=np.uint8)).save(tmp_path / f"pictures/{number}.png")
    data, named = FolderData(images=tmp_path / "pictures"), BackboneSettings(name=f"random:{tiny_config}")
    source, backbone = open_splits(data)["train"], load_backbone(named.name)
    # Forked workers have the environment of the server that they are forked from.
    with configured({"distributed.nanny.environ": s3.environment()}), local_cluster(2, gpus=False) as client:
        cluster = Cluster(
            client, data, named, "cpu", choose_environment(client, partial(environment_here, "cpu", "auto")), SETTINGS
        )
        done = extract(source, backbone, SETTINGS, OUT, "train", {}, fill=cluster.fill("train"), settle=cluster.settle)
    assert done.computed == 10
    extract(source, backbone, SETTINGS, tmp_path / "alone", "train", {})
    assert objects(s3) == contents(tmp_path / "alone")


class TestTheStore:
    def test_keys_and_bytes_are_those_of_a_folder(self, s3, make_frames, backbone, whole):
        done = extract(make_frames(18), backbone, SETTINGS, OUT, "train", {})
        assert objects(s3) == whole(18)
        assert str(done.pointer) == "s3://bucket/features/x/train.json"
        assert extract(make_frames(18), backbone, SETTINGS, OUT, "train", {}).computed == 0
        assert verify(done.pointer, deep=True).problems == []

    def test_the_bucket_itself_will_do(self, s3, make_frames, backbone, whole):
        extract(make_frames(6), backbone, SETTINGS, locate("s3://bucket/"), "train", {})
        assert objects(s3, "") == whole(6)
        assert len(FeatureCache.open("s3://bucket")) == 6

    def test_pointers_stay_here_where_only_stores_go_there(self, s3, make_frames, backbone, whole, tmp_path, contents):
        settings = SETTINGS.model_copy(update={"store": str(OUT)})
        done = extract(make_frames(6), backbone, settings, tmp_path / "features", "train", {})
        assert contents(tmp_path / "features").keys() == {"train.json"}
        assert json.loads((tmp_path / "features/train.json").read_bytes())["store"] == str(done.store)
        assert objects(s3).keys() == whole(6).keys() - {"train.json"}
        assert FeatureCache.open(tmp_path / "features").path == done.store

    def test_zarr_reads_the_same_numbers_from_the_bucket(self, s3, make_frames, backbone):
        import zarr
        from obstore.store import S3Store
        from zarr.storage import ObjectStore

        done = extract(make_frames(6), backbone, SETTINGS, OUT, "train", {})
        cache = FeatureCache.open(str(done.store))
        there = S3Store("bucket", prefix=f"features/x/{done.store.name}", client_options={"allow_http": True})
        for group in (cache.zarr, zarr.open_group(ObjectStore(there, read_only=True), mode="r")):
            arrays = {name: np.asarray(group[name]) for name in ("layers/0", "layers/2", "pooled", "image", "depth")}
            for layer, states in cache.states(range(6), "flipped").items():
                np.testing.assert_array_equal(arrays[f"layers/{layer}"][:, 1], states)
            np.testing.assert_array_equal(arrays["pooled"][:, 0], cache.pooled(range(6)))
            np.testing.assert_array_equal(arrays["image"][5], cache.image(5))
            np.testing.assert_allclose(arrays["depth"][5] * 0.001, cache.depth(5), rtol=1e-6)

    def test_a_shard_takes_a_request_for_each_of_its_objects_and_its_record(self, s3, make_frames, backbone):
        def asked(count):
            s3.asked.clear()
            s3.buckets["bucket"].clear()
            extract(make_frames(count), backbone, SETTINGS, OUT, "train", {})
            return len([method for method, _, _ in s3.asked])

        # Two hidden states and the pooled vector of two views, image and depth; written, and read once at the end: the
        # record.
        assert asked(12) - asked(8) == (2 * 3 + 2) + 1 + 1


class TestTheNetwork:
    def test_a_server_that_is_away_for_a_while_is_waited_for(self, s3, proxy, make_frames, backbone, whole):
        def tell(done, _total):
            if done >= 8 and not timers:
                proxy.refusing = True
                timers.append(Timer(0.4, setattr, (proxy, "refusing", False)))
                timers[0].start()

        timers: list[Timer] = []
        extract(make_frames(24), backbone, SETTINGS, OUT, "train", {}, tell)
        assert timers
        assert objects(s3) == whole(24)

    def test_a_slow_link_only_takes_longer(self, s3, proxy, make_frames, backbone, whole):
        proxy.rate, proxy.delay = 400_000, 0.02
        extract(make_frames(10), backbone, SETTINGS, OUT, "train", {})
        assert objects(s3) == whole(10)

    def test_connections_that_are_cut_in_the_middle_of_puts_leave_no_trace(
        self, s3, proxy, make_frames, backbone, whole
    ):
        cuts = []

        def tell(done, _total):
            if done:
                cuts.append(done)
                proxy.cut(3, sent=100 + 700 * (done % 5))

        extract(make_frames(30), backbone, SETTINGS, OUT, "train", {}, tell)
        assert len(cuts) > 5
        assert objects(s3) == whole(30)

    def test_answers_that_are_lost_leave_no_trace(self, s3, proxy, make_frames, backbone, whole):
        def tell(_done, _total):
            proxy.cut(2, received=10)

        extract(make_frames(18), backbone, SETTINGS, OUT, "train", {}, tell)
        assert objects(s3) == whole(18)

    def test_a_server_in_trouble_is_asked_again(self, s3, make_frames, backbone, whole):
        def tell(_done, _total):
            s3.answers = [503, 500, 503]

        extract(make_frames(18), backbone, SETTINGS, OUT, "train", {}, tell)
        assert objects(s3) == whole(18)

    def test_a_server_that_is_gone_for_good_is_one_line_and_the_next_run_goes_on(
        self, s3, proxy, make_frames, backbone, whole, monkeypatch, patience
    ):
        patience(1)

        def tell(done, _total):
            if done >= 12:
                while committed(s3) < 2:
                    time.sleep(0.001)
                proxy.refusing = True

        with pytest.raises(SpaceClipError, match=r"refuses connections.*committed so far (is|are) safe") as caught:
            extract(make_frames(40), backbone, SETTINGS, OUT, "train", {}, tell)
        assert "\n" not in str(caught.value)
        kept = committed(s3)
        assert 2 <= kept < 10
        proxy.refusing = False
        began = time.monotonic()
        done = extract(make_frames(40), backbone, SETTINGS, OUT, "train", {})
        assert time.monotonic() - began < lease.PATIENCE / 2
        assert done.computed == 40 - 4 * kept
        assert objects(s3) == whole(40)

    @pytest.mark.parametrize(
        ("key", "out", "told"),
        [
            ("somebody else", "s3://bucket/x", r"access is denied \(403 Forbidden, InvalidAccessKeyId\)"),
            ("tester", "s3://nowhere/x", "there is no bucket nowhere"),
        ],
    )
    def test_a_bucket_that_cannot_be_had_is_known_before_any_work(self, s3, make_frames, backbone, key, out, told):
        s3.key, frames = key, make_frames(6)
        with pytest.raises(SpaceClipError, match=told) as caught:
            extract(frames, backbone, SETTINGS, locate(out), "train", {})
        assert "\n" not in str(caught.value)
        assert frames.loaded == []


# One process imports everything and then forks the runs that are killed.
KILLING = """
    import os, random, signal, time
    import torch
    torch.set_num_threads(1)
    from conftest import Frames
    from spaceclip.cache import locate
    from spaceclip.extract import ExtractSettings, extract, load_backbone
    backbone = load_backbone("random:{config}", precision="float32")
    encode = backbone.encode
    def slowly(images, layers):
        time.sleep(0.01)
        return encode(images, layers)
    backbone.encode = slowly
    settings = ExtractSettings(layers=(0, 2), batch_size=3, shard=4, threads=2)
    draw = random.Random({seed})
    for steps in (0, 12, 0, 3, 8, 12):
        read, write = os.pipe()
        run = os.fork()
        if run == 0:
            extract(Frames(300), backbone, settings, locate("{out}"), "train", {{}}, lambda *_: os.write(write, b"."))
            os._exit(0)
        os.close(write)
        for _ in range(steps):
            assert os.read(read, 1), "it ended before it was killed"
        time.sleep(draw.uniform(0, 0.05 if steps else 0.5))
        os.kill(run, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(run, 0)[1])
    print("killed")
"""

HALF = """
    import time
    from pathlib import Path
    from conftest import Frames
    from spaceclip.cache import locate
    from spaceclip.cache.places import lease
    from spaceclip.extract import ExtractSettings, extract, load_backbone
    lease.RENEW = 0.2
    backbone = load_backbone("random:{config}", precision="float32")
    told = []
    def wait(done, _total):
        if done >= 12 and not told:
            told.append(done)
            print("half")
            while not Path("{go_on}").exists():
                time.sleep(0.01)
    settings = ExtractSettings(layers=(0, 2), batch_size=3, shard=4)
    extract(Frames(24), backbone, settings, locate("{out}"), "train", {{}}, wait)
    print("whole")
"""


class TestProcesses:
    def test_killed_anywhere_the_store_is_that_of_an_undisturbed_run(
        self, s3, make_frames, backbone, tiny_config, whole, start_script
    ):
        run = start_script(KILLING.format(config=tiny_config, out=OUT, seed=time.time_ns()))
        told, trouble = run.communicate(timeout=120)
        assert told == "killed\n", trouble
        kept = committed(s3)
        assert 5 < kept < 75
        began = time.monotonic()
        done = extract(make_frames(300), backbone, SETTINGS, OUT, "train", {})
        assert time.monotonic() - began < lease.PATIENCE / 2
        assert done.computed == 300 - 4 * kept
        assert objects(s3) == whole(300)

    def test_of_two_runs_on_one_store_the_second_is_turned_away_and_the_first_unharmed(
        self, s3, make_frames, backbone, tiny_config, whole, start_script, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(lease, "LOOK", 0.05)
        go_on = tmp_path / "go on"
        run = start_script(HALF.format(config=tiny_config, out=OUT, go_on=go_on))
        try:
            assert run.stdout.readline() == "half\n"
            frames = make_frames(24)
            with pytest.raises(SpaceClipError, match=rf"process {run.pid} on \S+ is writing this store; wait for it"):
                extract(frames, backbone, SETTINGS, OUT, "train", {})
            assert frames.loaded == []
        finally:
            go_on.touch()
            told, trouble = run.communicate(timeout=60)
        assert (told, trouble) == ("whole\n", "")
        assert objects(s3) == whole(24)


class TestGrowth:
    def test_layers_that_are_there_are_copied_by_the_provider(self, s3, make_frames, backbone, whole):
        extract(make_frames(10), backbone, SETTINGS, OUT, "train", {})
        grown = SETTINGS.model_copy(update={"layers": (0, 2, 3)})
        s3.asked.clear()
        done = extract(make_frames(10), backbone, grown, OUT, "train", {})
        below = f"/bucket/features/x/{done.store.name}/"
        puts = {path.removeprefix(below): size for method, path, size in s3.asked if method == "PUT"}
        # The answer to a copy says what was made; that to a put is empty.
        sent = {key for key, size in puts.items() if size == 0 and "/c/" in key}
        assert sent == {f"layers/3/c/{shard}/{view}/0/0" for shard in range(3) for view in range(2)}
        assert sum(size > 0 for size in puts.values()) == 3 * (2 * 3 + 2)
        alone = whole(10, grown)
        assert {key: content for key, content in objects(s3).items() if key in alone} == alone
        assert verify(done.store, deep=True).problems == []

    def test_what_is_damaged_in_the_store_beside_is_computed_again(self, s3, make_frames, backbone, whole):
        first = extract(make_frames(10), backbone, SETTINGS, OUT, "train", {}).store
        key = f"features/x/{first.name}/layers/2/c/1/0/0/0"
        s3.buckets["bucket"][key] = bytes(len(s3.buckets["bucket"][key]))
        grown = SETTINGS.model_copy(update={"layers": (0, 2, 3)})
        extract(make_frames(10), backbone, grown, OUT, "train", {})
        alone = whole(10, grown)
        assert {key: content for key, content in objects(s3).items() if key in alone} == alone

    def test_an_image_taken_from_the_list_leaves_nothing_to_compute(self, s3, make_frames, backbone):
        extract(make_frames(20), backbone, SETTINGS, OUT, "train", {})
        frames = make_frames(20)
        del frames.entries[9]
        done = extract(frames, backbone, SETTINGS, OUT, "train", {})
        assert (done.computed, frames.loaded) == (0, [])
        assert len(FeatureCache.open(done.pointer)) == 19


class TestTraining:
    @pytest.fixture
    def store(self, s3, make_frames, backbone):
        return extract(make_frames(40), backbone, SETTINGS, OUT, "train", {}).store

    def test_batches_over_a_connection_that_is_cut_are_the_same(self, proxy, store, whole, tmp_path):
        whole(40)
        expected = epoch(FeatureCache.open(tmp_path / "whole"))
        proxy.delay = 0.005

        def cut():
            proxy.cut(4, received=900)

        found = epoch(FeatureCache.open(store), cut)
        assert len(found) == len(expected) == 6
        for one, other in zip(found, expected, strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])

    def test_a_server_that_is_gone_for_good_is_one_line(self, proxy, store, monkeypatch, patience):
        patience(1)
        cache = FeatureCache.open(store)

        def go():
            proxy.refusing = True

        with pytest.raises(SpaceClipError, match=rf"{store}/\S+: cannot be read \(127.0.0.1:\d+ refuses") as caught:
            epoch(cache, go)
        assert "\n" not in str(caught.value)


def epoch(cache, between=lambda: None):
    """The batches of an epoch; something is done after each."""
    found = []
    for batch in Batches(cache, 6, (0, 2), seed=3).epoch(0):
        states = {str(layer): values.copy() for layer, values in batch.states.items()}
        found.append(
            {"rows": batch.indices.copy(), "pooled": batch.pooled.copy(), "depth": batch.depth.copy(), **states}
        )
        between()
    return found
