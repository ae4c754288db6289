import re
import shutil
import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from spaceclip.cache import (
    EncoderRate,
    FeatureCache,
    Pointer,
    SpaceClipError,
    find_garbage,
    only_writer,
    remove,
    require_disjoint,
    verify,
)
from spaceclip.extract import Entry, ExtractSettings, FolderSettings, FolderSource, extract, load_backbone
from spaceclip.extract.computed import settled
from spaceclip.extract.engine import Engine, HostDevice, WeighingSink, device_of
from spaceclip.extract.engine.device import Landed
from spaceclip.extract.preprocess import prepare_image
from spaceclip.extract.remaining import Work
from spaceclip.extract.samples import OnError
from spaceclip.extract.settings import store_spec
from spaceclip.extract.towers import device_kind

SETTINGS = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=8)


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


def test_the_store_holds_what_the_encoder_says_of_each_view(make_frames, backbone, tmp_path):
    frames = make_frames(20)
    done = extract(frames, backbone, SETTINGS, tmp_path, "train", {})
    assert (done.images, done.computed) == (20, 20)
    cache = FeatureCache.open(tmp_path)
    assert done.store.name == f"train-{cache.fingerprint}.zarr"
    for index in (0, 7, 8, 19):
        sample = frames.load(index)
        prepared = prepare_image(sample.image, (24, 36), 32).transpose(2, 0, 1)
        for view, image in (("plain", prepared.copy()), ("flipped", prepared[..., ::-1].copy())):
            features = backbone.encode(torch.from_numpy(image)[None], SETTINGS.layers)
            for layer in SETTINGS.layers:
                expected = features.states[layer].numpy()
                np.testing.assert_allclose(cache.states([index], view)[layer], expected, rtol=2e-3, atol=2e-3)
            np.testing.assert_allclose(cache.pooled([index], view), features.pooled.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(cache.image(index), prepared.transpose(1, 2, 0))
        np.testing.assert_allclose(cache.depth(index), sample.depth, atol=1e-6)
        np.testing.assert_allclose(cache.ground_truth(index), sample.depth, atol=1e-6)


def test_native_ground_truth_is_kept_where_its_size_differs(make_frames, backbone, tmp_path):
    frames = make_frames(6, sizes=((24, 36), (20, 40)))
    extract(frames, backbone, SETTINGS.model_copy(update={"target_size": (12, 18)}), tmp_path, "test", {})
    cache = FeatureCache.open(tmp_path)
    for index in range(6):
        np.testing.assert_allclose(cache.ground_truth(index), frames.load(index).depth, atol=1e-6)
        assert cache.depth(index).shape == (12, 18)


def test_several_depth_sizes_ask_for_one(make_frames, backbone, tmp_path):
    with pytest.raises(SpaceClipError, match=r"2 sizes: 20 x 40 \(3\), 24 x 36 \(3\); .*--size HEIGHT WIDTH"):
        extract(make_frames(6, sizes=((24, 36), (20, 40))), backbone, SETTINGS, tmp_path, "train", {})


def test_images_without_depth_give_features_alone(make_frames, backbone, tmp_path):
    extract(make_frames(5, unit=None), backbone, SETTINGS, tmp_path, "all", {})
    cache = FeatureCache.open(tmp_path)
    assert not cache.has_depth
    assert cache.states([4], "flipped")[3].any()


def test_a_second_run_computes_nothing(make_frames, backbone, tmp_path, contents):
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    before = contents(tmp_path)
    frames = make_frames(20)
    assert extract(frames, backbone, SETTINGS, tmp_path, "train", {}).computed == 0
    assert contents(tmp_path) == before
    assert len(frames.loaded) == 4  # to see that they are still what the store holds


def test_how_fast_the_encoder_was_lies_beside_the_store(make_frames, backbone, tmp_path):
    done = extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    rate, receipt = EncoderRate.read(done.store), done.receipt
    assert rate is not None
    assert receipt is not None
    assert (rate.images, rate.seconds) == (40, receipt.stages["encoding"].busy)
    assert (rate.device, rate.precision) == (device_kind(backbone.device), "float32")
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})  # encodes nothing
    assert EncoderRate.read(done.store) == rate
    # For a new layer all images are encoded again; with what another store holds, none.
    for layers, images in (((0, 1, 2, 3), 40), ((0,), None)):
        settings = SETTINGS.model_copy(update={"layers": layers})
        found = EncoderRate.read(extract(make_frames(20), backbone, settings, tmp_path, "train", {}).store)
        assert (found and found.images) == images


def test_a_run_that_goes_on_adds_to_the_rate(make_frames, backbone, tmp_path):
    done = extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    first = EncoderRate.read(done.store)
    next((tmp_path / done.store.name / "ledger").glob("*.json")).unlink()
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    both = EncoderRate.read(done.store)
    assert first is not None
    assert both is not None
    assert first.images < both.images < 2 * first.images
    assert both.seconds > first.seconds


class TestOtherFilesOfTheSameNamesAndSizes:
    @pytest.fixture
    def data(self, tmp_path):
        """Ten pictures with depth, of which another folder holds half as much, all files of one size."""
        draw = np.random.default_rng(0)
        for folder in ("images", "depth", "half"):
            (tmp_path / folder).mkdir()
        for at in range(10):
            Image.fromarray(draw.integers(0, 256, (24, 36, 3), dtype=np.uint8)).save(tmp_path / f"images/{at}.bmp")
            depth = draw.uniform(1, 9, (24, 36)).astype(np.float32)
            np.save(tmp_path / f"depth/{at}.npy", depth)
            np.save(tmp_path / f"half/{at}.npy", depth / 2)
        return tmp_path

    def extract(self, data, backbone, depth="depth", on_error: OnError = "stop"):
        source = FolderSource(FolderSettings(images=data / "images", depth=data / depth))
        return extract(source, backbone, SETTINGS, data / "out", "train", {}, on_error=on_error)

    def test_are_not_taken_for_those_that_the_store_holds(self, data, backbone):
        done = self.extract(data, backbone)
        with pytest.raises(SpaceClipError, match=rf"{done.store}: holds another depth of 0 than .*delete this store"):
            self.extract(data, backbone, "half")
        picture = data / "images/9.bmp"
        content = picture.read_bytes()
        picture.write_bytes(content[:-100] + bytes(100))
        with pytest.raises(SpaceClipError, match=r"holds another image of 9 than .*another name \(`features`"):
            self.extract(data, backbone)
        picture.write_bytes(content)
        assert self.extract(data, backbone).computed == 0

    def test_what_cannot_be_read_is_not_compared(self, data, backbone):
        first, last = data / "images/0.bmp", data / "images/9.bmp"
        sound = first.read_bytes()
        first.write_bytes(bytes(len(sound)))
        assert len(self.extract(data, backbone, on_error="quarantine").quarantined) == 1
        first.write_bytes(sound)  # it was quarantined
        last.write_bytes(bytes(len(sound)))  # it can no longer be read
        assert self.extract(data, backbone).computed == 0


def test_a_layer_that_is_not_there_is_refused_before_any_work(make_frames, backbone, tmp_path):
    frames = make_frames(5)
    with pytest.raises(SpaceClipError, match=r"layers: \[9\] asked for"):
        extract(frames, backbone, SETTINGS.model_copy(update={"layers": (0, 9)}), tmp_path / "out", "train", {})
    assert frames.loaded == []
    assert not (tmp_path / "out").exists()


def test_too_little_space_is_known_before_any_work(make_frames, backbone, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100_000))
    frames = make_frames(50)
    with pytest.raises(SpaceClipError, match=r"needs at least \d+\.\d kB more, \d+\.\d kB are free; make room"):
        extract(frames, backbone, SETTINGS, tmp_path, "train", {})
    assert frames.loaded == []


def test_a_bad_image_stops_the_run_and_keeps_what_was_committed(make_frames, backbone, tmp_path):
    frames, good = make_frames(30), make_frames(30)

    def load(index):
        if index == 21:
            raise SpaceClipError("frame021.png: is cut short")
        return good.load(index)

    frames.load = load
    with pytest.raises(SpaceClipError, match="frame021"):
        extract(frames, backbone, SETTINGS, tmp_path, "train", {})
    assert not (tmp_path / "train.json").exists()
    committed = sorted(int(record.stem) for record in tmp_path.glob("*.zarr/ledger/0*.json"))
    assert committed[:2] == [0, 1]
    assert 2 not in committed
    left = sum(min(30, 8 * shard + 8) - 8 * shard for shard in range(4) if shard not in committed)
    assert extract(good, backbone, SETTINGS, tmp_path, "train", {}).computed == left


GPU = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.79 GiB."


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("full", "said"),
    [
        (lambda: _raise(torch.OutOfMemoryError(GPU)), r"\(CUDA out of memory\. Tried to allocate 20\.00 MiB\)"),
        (lambda: torch.empty(10**15), "can't allocate memory"),
        (lambda: np.empty(10**15), "Unable to allocate"),
        (lambda: _raise(MemoryError()), "for its buffers"),
    ],
)
@pytest.mark.parametrize("good", [0, 7])
def test_too_little_memory_is_one_line_before_the_run_and_in_it(make_frames, tiny_config, tmp_path, full, said, good):
    backbone, calls = load_backbone(f"random:{tiny_config}", precision="float32"), []
    encode = backbone.encode

    def encoding(images, layers):
        calls.append(layers)
        return encode(images, layers) if len(calls) <= good else full()

    backbone.encode = encoding
    with pytest.raises(SpaceClipError, match=r"out of memory \(.*; .*batch_size \(now 3\) or shard \(now 8") as told:
        extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    assert re.search(said, str(told.value))
    assert "\n" not in str(told.value)


def test_other_failures_of_the_encoder_are_not_taken_for_it(make_frames, tiny_config, tmp_path):
    backbone = load_backbone(f"random:{tiny_config}", precision="float32")
    backbone.encode = lambda images, layers: _raise(RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})


def test_memory_does_not_grow_with_the_shards_that_are_left(make_frames, backbone, tmp_path):
    frames = make_frames(4000)
    spec = settled(store_spec(frames, backbone, SETTINGS), tmp_path, backbone, SETTINGS)
    asked = []

    class Watched(Work):
        def rows(self, shard):
            asked.append(shard)
            return super().rows(shard)

    work = Watched.all_of(spec)
    assert len({id(work.missing(shard)) for shard in work.shards}) == 1
    held = threading.Event()

    class Slow(WeighingSink):
        def write(self, shard, buffer, pool):
            held.wait(20)
            return super().write(shard, buffer, pool)

    device, sink = device_of(backbone, spec), Slow(1)
    with Engine(frames, device, spec, sink, batch=3, threads=1) as engine:
        shards = [engine.submit(work, shard) for shard in work.shards]
        time.sleep(1)  # much longer than all of them take
        assert max(asked) < 16
        held.set()
        engine.wait(shards[:20])
    assert sum(shard.buffer is not None for shard in shards) < 16


def test_a_card_goes_on_while_the_batch_before_is_being_written(make_frames, backbone, tmp_path):
    settings = SETTINGS.model_copy(update={"batch_size": 8, "shard": 2})
    frames, times = make_frames(80), []
    spec = settled(store_spec(frames, backbone, settings), tmp_path, backbone, settings)

    @dataclass
    class Computing(Landed):
        end: float

        def wait(self):
            time.sleep(max(0.0, self.end - time.perf_counter()))

    class Card(HostDevice):
        fixed, free = True, 0.0

        def encode(self, images, runs, stage, wanted=frozenset()):
            begin = max(self.free, time.perf_counter())
            self.free = begin + 0.1
            times.append((begin, self.free))
            return Computing(self.free)

    class Slow(WeighingSink):
        def write(self, shard, buffer, pool):
            time.sleep(0.04)  # two at once: the four of a batch take as long as the card does for nearly another
            return super().write(shard, buffer, pool)

    with Engine(frames, Card(backbone, spec), spec, Slow(1), batch=8, threads=1) as engine:
        work = Work.all_of(spec)
        engine.wait([engine.submit(work, shard) for shard in work.shards])
    assert len(times) == 10
    assert times[-1][1] - times[1][0] < 1.05  # nine batches; 1.24 where the next one waits for room


def test_a_source_that_hangs_does_not_hold_an_interrupted_run(make_frames, backbone, tmp_path):
    frames, load, mended = make_frames(24), make_frames(24).load, threading.Event()

    def hangs(index):
        if index == 12:
            mended.wait(20)
        return load(index)

    def stop(done, _total):
        if done:
            raise KeyboardInterrupt

    frames.load = hangs
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        extract(frames, backbone, SETTINGS.model_copy(update={"threads": 4}), tmp_path, "train", {}, stop)
    took = time.monotonic() - start
    mended.set()
    assert took < 10


def test_a_stage_that_is_slow_is_the_one_that_binds(make_frames, backbone, tmp_path):
    frames, load = make_frames(24), make_frames(24).load
    frames.load = lambda index: (time.sleep(0.05), load(index))[1]
    settings = SETTINGS.model_copy(update={"threads": 2})
    found = extract(frames, backbone, settings, tmp_path, "train", {}).receipt
    assert found is not None
    assert found.binding == "decoding"
    assert 20 < found.rates["decoding"] < 2 / 0.05
    assert 0.5 < found.share <= 1


SCRIPT = """
    import time
    from pathlib import Path
    from conftest import Frames
    from spaceclip.extract import ExtractSettings, extract, load_backbone
    backbone = load_backbone("random:{config}", precision="float32")
    settings = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=8)
    encode = backbone.encode
    def slowly(images, layers):
        time.sleep(0.01)
        return encode(images, layers)
    backbone.encode = slowly
    print("ready")
    extract(Frames(100), backbone, settings, Path("{out}"), "train", {{}})
    print("done")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_anywhere_it_ends_with_the_same_bytes(
    make_frames, backbone, tiny_config, tmp_path, start_script, how, contents
):
    extract(make_frames(100), backbone, SETTINGS, tmp_path / "whole", "train", {})
    whole = contents(tmp_path / "whole")
    out, interrupted = tmp_path / "out", 0
    for delay in (0.05, 0.3, 0.5):
        run = start_script(SCRIPT.format(config=tiny_config, out=out))
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        time.sleep(delay)
        run.send_signal(how)
        interrupted += "done" not in run.communicate(timeout=60)[0]
        if (out / "train.json").exists():
            break
    assert interrupted >= 2
    extract(make_frames(100), backbone, SETTINGS, out, "train", {})
    left = {name: content for name, content in contents(out).items() if "/." not in name and not name.startswith(".")}
    assert left == whole
    assert verify(out).problems == []


def test_a_whole_store_is_used_while_another_run_holds_it(make_frames, backbone, tmp_path):
    frames = make_frames(20)
    done = extract(frames, backbone, SETTINGS, tmp_path, "train", {})
    file = tmp_path / "train.json"
    pointer = file.read_bytes()
    file.unlink()
    with only_writer(done.store):
        again = extract(frames, backbone, SETTINGS, tmp_path, "train", {})
    assert (again.computed, again.store) == (0, done.store)
    assert file.read_bytes() == pointer
    (tmp_path / done.store.name / "depth/zarr.json").unlink()
    with only_writer(done.store), pytest.raises(SpaceClipError, match="is writing this store"):
        extract(frames, backbone, SETTINGS, tmp_path, "train", {})


def test_a_whole_store_that_gc_removes_before_it_has_a_pointer_is_made_again(
    make_frames, backbone, tmp_path, monkeypatch, contents
):
    settings = SETTINGS.model_copy(update={"layers": (0, 2)})
    extract(make_frames(20), backbone, settings, tmp_path, "train", {})
    before = contents(tmp_path)
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    write, removed = Pointer.write, []

    def late(pointer, path):
        if not removed:
            removed.extend(remove(one, tmp_path) for one in find_garbage(tmp_path))
        write(pointer, path)

    monkeypatch.setattr(Pointer, "write", late)
    done = extract(make_frames(20), backbone, settings, tmp_path, "train", {})
    assert removed == [True]
    assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
    assert verify(done.store).problems == []


def test_the_same_pictures_under_other_names_are_found_across_splits(make_frames, backbone, tmp_path):
    splits = {"train": make_frames(20), "test": make_frames(3)}
    splits["test"].entries = [Entry(f"copy{at}", f"other{at}", f"{at}") for at in range(3)]
    stores = {
        name: FeatureCache.open(extract(frames, backbone, SETTINGS, tmp_path, name, {}).store)
        for name, frames in splits.items()
    }
    assert stores["test"].content_hashes == stores["train"].content_hashes[:3]
    assert len(set(stores["train"].content_hashes)) == len(set(stores["train"].depth_hashes)) == 20
    with pytest.raises(SpaceClipError, match=r"share 3 pictures \(copy0 = frame000, copy1 = frame001, copy2 = frame0"):
        require_disjoint(stores)


def test_one_picture_in_two_files_or_behind_a_link_is_found_across_splits(backbone, tmp_path):
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(0, 256, (24, 36, 3), dtype=np.uint8)) for _ in range(6)]
    for folder in ("train/kitchen", "train/hall", "test/copied"):
        (tmp_path / folder).mkdir(parents=True)
    for at, picture in enumerate(pictures[:4]):  # all of one size
        picture.save(tmp_path / f"train/{'kitchen' if at % 2 else 'hall'}/{at}.bmp")
    pictures[4].save(tmp_path / "test/copied/new.bmp")
    pictures[2].save(tmp_path / "test/copied/again.png")
    (tmp_path / "test/linked").symlink_to(tmp_path / "train/kitchen")
    stores = {}
    for name in ("train", "test"):
        source = FolderSource(FolderSettings(images=tmp_path / name))
        stores[name] = FeatureCache.open(extract(source, backbone, SETTINGS, tmp_path / "out", name, {}).store)
    with pytest.raises(
        SpaceClipError, match=r"share 3 pictures \(copied/again = hall/2, linked/1 = kitchen/1, linked/3 "
    ):
        require_disjoint(stores)


def test_the_range_of_depth_is_in_the_ledger(make_frames, backbone, tmp_path):
    frames = make_frames(20)
    found = extract(frames, backbone, SETTINGS, tmp_path, "train", {}).depth
    depth = np.stack([frames.load(index).depth for index in range(20)])
    assert found is not None
    assert (found.min, found.max) == pytest.approx((depth.min(), depth.max()), abs=1e-3)
    assert found.median == pytest.approx(np.median(depth), rel=0.02)
    assert FeatureCache.open(tmp_path).depth_range == found


@pytest.mark.parametrize("metres", [4_294_968, 1e12, -1, np.nan])
def test_depth_beyond_what_a_store_holds_is_refused(make_frames, backbone, tmp_path, metres):
    frames = make_frames(4)
    load = frames.load

    def far(index):
        sample = load(index)
        sample.depth[3, 3] = metres
        return sample

    frames.load = far
    with pytest.raises(
        SpaceClipError, match=r"frame000: depth from .* m, but in steps of 0.001 m a store holds 0 to 4,2"
    ):
        extract(frames, backbone, SETTINGS, tmp_path, "train", {})


@pytest.mark.parametrize("field", [{"views": ["plain", "plain"]}, {"layers": [0, 3, 3]}])
def test_a_view_or_layer_that_is_named_twice_is_refused(field):
    with pytest.raises(ValueError, match="names one twice: expected each once"):
        ExtractSettings.model_validate(field)
