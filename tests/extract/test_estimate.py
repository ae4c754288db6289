import shutil
import time

import numpy as np
import pytest
from spaceclip.cache import Entry, FeatureCache, SpaceClipError, stored_bytes
from spaceclip.extract import ExtractSettings, Sample, duration, extract, load_backbone, plan, settings, trial

SETTINGS = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=8)


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def smooth(make_frames):
    """Frames that compress: how well depends on the frame."""
    frames = make_frames(200)

    def load(index):
        draw = np.random.default_rng(index)
        image = np.full((24, 36, 3), index, np.uint8)
        image[: 4 + index % 8] = draw.integers(0, 256, (4 + index % 8, 36, 3))
        return Sample(f"frame{index:03d}", image, np.full((24, 36), 2.0, np.float32), f"scene{index // 4}")

    frames.load = load
    return frames


def test_predicted_bytes_are_those_written(smooth, backbone, tmp_path):
    told = []
    done = extract(smooth, backbone, SETTINGS, tmp_path, "train", {}, predicted=told.append)
    (prediction,) = told
    written = stored_bytes(FeatureCache.open(done.store))
    assert prediction.bytes == pytest.approx(written, rel=0.02)
    assert (prediction.images, prediction.shards, prediction.pending_images) == (200, 25, 200)
    assert 0 < (prediction.seconds or 0) < 60


def test_a_plan_is_what_the_run_predicts_and_writes_nothing(smooth, backbone, tmp_path):
    planned = plan(smooth, backbone, SETTINGS, tmp_path / "deep" / "out", "train")
    assert list(tmp_path.iterdir()) == []
    told = []
    done = extract(smooth, backbone, SETTINGS, tmp_path / "deep" / "out", "train", {}, predicted=told.append)
    assert planned.store == done.store
    assert planned.bytes == told[0].bytes
    before = sorted(tmp_path.rglob("*"))
    after = plan(smooth, backbone, SETTINGS, tmp_path / "deep" / "out", "train")
    assert (after.pending_images, after.bytes, after.seconds, after.probed) == (0, 0, 0, 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_left_of_an_interrupted_run_is_what_is_planned(smooth, backbone, tmp_path):
    def stop(done, _total):
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(smooth, backbone, SETTINGS, tmp_path, "train", {}, stop)
    planned = plan(smooth, backbone, SETTINGS, tmp_path, "train")
    committed = len(list(tmp_path.glob("*.zarr/ledger/*.json")))
    assert planned.pending_shards == 25 - committed < 25
    assert planned.pending_images == 200 - 8 * committed


def test_the_compressed_part_counts_when_space_is_short(smooth, backbone, tmp_path, monkeypatch):
    whole = plan(smooth, backbone, SETTINGS, tmp_path, "train").bytes
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=whole - 1))
    with pytest.raises(SpaceClipError, match=r"the store needs \d+\.\d MB more, \d+\.\d MB are free; make room"):
        extract(smooth, backbone, SETTINGS, tmp_path, "train", {})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=whole))
    assert extract(smooth, backbone, SETTINGS, tmp_path, "train", {}).computed == 200


@pytest.mark.parametrize(("count", "probed"), [(5, 1), (64, 2), (640, 11), (6400, 16)])
def test_few_samples_are_probed_and_spread_over_all(make_frames, backbone, tmp_path, monkeypatch, count, probed):
    monkeypatch.setattr(trial, "_MOST_SECONDS", 1000.0)  # however busy this machine is
    frames = make_frames(count)
    assert plan(frames, backbone, SETTINGS, tmp_path, "train").probed == probed
    assert len(frames.loaded) == probed
    assert probed == 1 or {0, count - 1} <= set(frames.loaded)


def test_a_bad_probe_is_passed_over_in_quarantine_alone(make_frames, backbone, tmp_path):
    frames, good = make_frames(200), make_frames(200)

    def load(index):
        if index == 0:
            raise SpaceClipError("frame000.png: is cut short")
        return good.load(index)

    frames.load = load
    with pytest.raises(SpaceClipError, match="frame000"):
        plan(frames, backbone, SETTINGS, tmp_path, "train")
    assert plan(frames, backbone, SETTINGS, tmp_path, "train", on_error="quarantine").probed == 3


@pytest.fixture
def slow(tiny_config):
    """An encoder that takes 10 ms for a view of an image, and notes how many it is given at once."""
    backbone = load_backbone(f"random:{tiny_config}", precision="float32")
    encode, given = backbone.encode, []

    def slowly(images, layers):
        given.append(len(images))
        time.sleep(0.01 * len(images))
        return encode(images, layers)

    backbone.encode = slowly
    return backbone, given


def test_shards_that_lack_less_count_for_less(make_frames, slow, tmp_path):
    backbone, _ = slow
    plain = SETTINGS.model_copy(update={"views": ("plain",)})
    extract(make_frames(96), backbone, plain, tmp_path, "train", {})
    planned = plan(make_frames(160), backbone, SETTINGS, tmp_path, "train")
    assert planned.pending_images == 160
    assert planned.seconds == pytest.approx((96 * 1 + 64 * 2) * 0.01, rel=0.5)


def test_probes_pass_through_the_batches_of_the_run(make_frames, slow, tmp_path):
    backbone, given = slow
    plan(make_frames(640), backbone, SETTINGS, tmp_path, "train")
    assert given == [1, 1, 3, 3, 3, 3, 3, 3, 2, 2]  # one image first, of two views, to have kernels chosen


def test_what_is_not_timed_says_the_same_bytes(smooth, slow, tmp_path):
    backbone, given = slow
    timed, untimed = (plan(smooth, backbone, SETTINGS, tmp_path, "train", timed=timed) for timed in (True, False))
    assert (untimed.bytes, untimed.seconds) == (timed.bytes, None)
    assert len(given) == 2 + 2 * 2


def test_an_encoder_that_takes_seconds_an_image_tries_few(make_frames, slow, tmp_path, monkeypatch):
    backbone, given = slow
    monkeypatch.setattr(trial, "_MOST_SECONDS", 0.2)
    planned = plan(make_frames(640), backbone, SETTINGS, tmp_path, "train")
    assert 1 <= planned.probed <= 10
    assert sum(given) == 2 + 2 * planned.probed
    assert planned.seconds == pytest.approx(640 * 2 * 0.01, rel=0.5)
    assert 0.04 < planned.probing < 5
    monkeypatch.setattr(trial, "_MOST_SECONDS", 0.0)
    assert plan(make_frames(640), backbone, SETTINGS, tmp_path, "train").probed == 1


def test_images_that_another_store_has_are_counted_apart(make_frames, backbone, tmp_path):
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    planned, said = plan(make_frames(28), backbone, SETTINGS, tmp_path, "train"), []
    assert (planned.images, planned.pending_images, planned.taken) == (28, 8, 20)  # two shards, and half of the third
    assert "8 of 28 images to compute (2 of 4 shards), 20 taken over from another store, about " in str(planned)
    extract(make_frames(28), backbone, SETTINGS, tmp_path, "train", {}, predicted=said.append)
    assert (said[0].pending_images, said[0].taken) == (8, 20)
    extract(make_frames(8), backbone, SETTINGS, tmp_path, "train", {}, predicted=said.append)
    assert str(said[1]).startswith(
        "0 of 8 images to compute (0 of 1 shard), 8 taken over from another store, about 0 b"
    )


def test_the_depth_of_the_images_tried_is_said(smooth, backbone, tmp_path):
    planned = plan(smooth, backbone, SETTINGS, tmp_path, "train")
    assert planned.depth == (2.0, 2.0, 2.0)
    assert str(planned).endswith(" s; depth 2 m (2 to 2))")


def test_a_pointer_that_will_mean_another_store_is_said(make_frames, backbone, tmp_path):
    said = []
    first = extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {}, say=said.append)
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {}, say=said.append)
    assert said == []
    other = make_frames(8)
    other.entries = [Entry(entry.id, entry.scene, "another file") for entry in other.entries]
    second = extract(other, backbone, SETTINGS, tmp_path, "train", {}, say=said.append)
    assert len(said) == 1
    assert said[0].startswith(f"{second.pointer} means {first.store} now (20 images, 0 of them among these 8), and ")
    assert f" {second.store} when this is done" in said[0]
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {}, say=said.append)
    assert said[1].startswith(f"{second.pointer} means {second.store} now (8 images, 0 of them among these 20)")


@pytest.mark.parametrize(
    ("cores", "sharing", "threads"),
    [(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 5, 1), (16, 1, 14), (128, 1, 64), (128, 8, 14)],
)
def test_threads_are_most_of_the_cores_that_a_process_has_to_itself(monkeypatch, cores, sharing, threads):
    monkeypatch.setattr(settings, "CPU_COUNT", cores)
    assert ExtractSettings().threads_here(sharing) == threads
    assert ExtractSettings(threads=5).threads_here(sharing) == 5


def test_no_machine_s_threads_or_batch_stand_in_the_settings():
    chosen = ExtractSettings().model_dump()
    assert (chosen["threads"], chosen["batch_size"]) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "told"), [(8.2, "8 s"), (250, "4 min"), (40_000, "11 h 7 min"), (360_000, "100 h 0 min")]
)
def test_durations_read_as_people_say_them(seconds, told):
    assert duration(seconds) == told
