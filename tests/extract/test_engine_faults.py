"""What goes wrong under the engine: reads that hang, cards that fail or fill, disks that do."""

import errno
import os
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from enginethreads import ended
from PIL import Image
from spaceclip.cache import FeatureCache, SpaceClipError, verify
from spaceclip.cache.places.folder import Folder
from spaceclip.extract import ExtractSettings, FolderSettings, FolderSource, extract, load_backbone, reading
from spaceclip.extract.computed import settled
from spaceclip.extract.engine import Engine, HostDevice, WeighingSink
from spaceclip.extract.remaining import Work
from spaceclip.extract.settings import store_spec

SETTINGS = ExtractSettings(layers=(0, 2, 3), batch_size=6, shard=4, threads=2)


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def hanging(make_frames, monkeypatch):
    """Frames of which number 12 is never read to its end, and what waits for it."""
    monkeypatch.setattr(reading, "HANG_SECONDS", 0.5)
    monkeypatch.setattr(reading, "SLOW_SECONDS", 0.2)
    frames, load, mended = make_frames(24), make_frames(24).load, threading.Event()
    frames.load = lambda index: (index == 12 and mended.wait(20), load(index))[1]
    yield frames
    mended.set()


class TestReadsThatHang:
    def test_stop_the_run_in_one_line_after_a_word_of_warning(self, hanging, backbone, tmp_path):
        said = []
        with pytest.raises(SpaceClipError, match=r"^frame012: reading it has not ended in .*pipe.*network mount"):
            extract(hanging, backbone, SETTINGS, tmp_path, "train", {}, say=said.append)
        assert len(said) == 1
        assert said[0].startswith("waiting for frame012: reading takes over")

    def test_are_quarantined_and_cost_no_thread(self, hanging, backbone, tmp_path):
        one = SETTINGS.model_copy(update={"threads": 1})
        done = extract(hanging, backbone, one, tmp_path, "train", {}, on_error="quarantine")
        assert [sample.row for sample in done.quarantined] == [12]
        assert verify(done.store).problems == []

    def test_do_not_hold_the_comparison_with_a_whole_store(self, hanging, make_frames, backbone, tmp_path):
        extract(make_frames(24), backbone, SETTINGS, tmp_path, "train", {})
        load = hanging.load
        hanging.load = lambda index: load(12)  # a mount that is gone
        start, said = time.monotonic(), []
        assert extract(hanging, backbone, SETTINGS, tmp_path, "train", {}, say=said.append).computed == 0
        assert time.monotonic() - start < 5
        assert said[0].startswith("waiting for frame000")

    def test_do_not_hold_the_process(self, tiny_config, tmp_path, start_script):
        run = start_script(f"""
            import threading
            from pathlib import Path
            from conftest import Frames
            from spaceclip.extract import ExtractSettings, extract, load_backbone, reading
            reading.HANG_SECONDS = 0.5
            frames = Frames(24)
            frames.load = lambda index: threading.Event().wait()
            backbone = load_backbone("random:{tiny_config}", precision="float32")
            settings = ExtractSettings(layers=(0, 2, 3), batch_size=6, shard=4)
            extract(frames, backbone, settings, Path("{tmp_path}"), "train", {{}})
        """)
        assert "HangingError: frame0" in run.communicate(timeout=15)[1]


def test_pipes_and_broken_links_called_images_are_refused_when_they_are_listed(tmp_path):
    for name in ("0.png", "1.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    os.mkfifo(tmp_path / "2.png")
    (tmp_path / "3.jpg").symlink_to("nowhere")
    with pytest.raises(
        SpaceClipError,
        match=r"of 4 images 2 are no file but .*2\.png, .*3\.jpg; remove",
    ) as told:
        FolderSource(FolderSettings(images=tmp_path))
    assert "\n" not in str(told.value)


def test_a_file_that_became_a_pipe_is_called_one(tmp_path):
    file = tmp_path / "0.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file)
    source = FolderSource(FolderSettings(images=tmp_path))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SpaceClipError, match=r"0\.png is no file but a pipe or a device, expected a file"):
        source.load(0)


LOST = "CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"


class _LostLater:
    def wait(self):
        raise RuntimeError(LOST)


@pytest.mark.parametrize("where", ["launch", "landing", "preparation"])
def test_a_card_that_is_lost_is_one_line_wherever_it_shows(make_frames, backbone, tmp_path, monkeypatch, where):
    calls, encode = [], HostDevice.encode

    def failing(device, *given, **more):
        calls.append(1)
        if len(calls) < 5:
            return encode(device, *given, **more)
        if where == "launch":
            raise RuntimeError(LOST)
        return _LostLater()

    def lost(_device, _images):
        raise RuntimeError(LOST)

    frames = make_frames(40)
    spec = settled(store_spec(frames, backbone, SETTINGS), tmp_path, backbone, SETTINGS)
    monkeypatch.setattr(HostDevice, *(("prepare", lost) if where == "preparation" else ("encode", failing)))
    device, work = HostDevice(backbone, spec), Work.all_of(spec)
    said = r"cpu failed in mid-run and answers no more \(CUDA error: unspecified launch failure\); what is committed"
    with Engine(frames, device, spec, WeighingSink(2), batch=6, threads=2) as engine:
        shards = [engine.submit(work, shard) for shard in work.shards]
        with pytest.raises(SpaceClipError, match=said):
            engine.wait(shards)
        with pytest.raises(SpaceClipError, match=said):
            engine.submit(work, 0).future.result()
        if where != "preparation":
            assert shards[0].future.exception() is None
    engine.close()
    assert ended()


@pytest.mark.parametrize("where", ["extract.computed.default_batch", "HostDevice.warm_up", "HostDevice.allocate"])
def test_a_card_that_is_lost_before_the_engine_runs_is_one_line(make_frames, backbone, tmp_path, monkeypatch, where):
    def lost(*_given):
        raise RuntimeError(LOST)

    monkeypatch.setattr(f"spaceclip.{where}" if where[0] == "e" else f"spaceclip.extract.engine.{where}", lost)
    chosen = SETTINGS.model_copy(update={"batch_size": None})
    said = r"^cpu failed in mid-run and answers no more \(CUDA error: unspecified launch failure\)"
    with pytest.raises(SpaceClipError, match=said):
        extract(make_frames(8), backbone, chosen, tmp_path, "train", {})


class _Small(HostDevice):
    """A card that holds three images."""

    fixed = True
    sizes: list[int] = []  # noqa: RUF012

    def encode(self, images, *given, **more):
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.sizes.append(len(images))
        return super().encode(images, *given, **more)


def test_memory_that_runs_out_makes_batches_smaller_and_the_store_says_so(
    make_frames, backbone, tmp_path, monkeypatch, contents
):
    monkeypatch.setattr("spaceclip.extract.split_extraction.device_of", _Small)
    said, stop = [], []

    def report(done, _total):
        if done >= 12 and stop:
            raise KeyboardInterrupt

    stop.append(True)
    with pytest.raises(KeyboardInterrupt):
        extract(make_frames(40), backbone, SETTINGS, tmp_path / "out", "train", {}, report, say=said.append)
    assert said == ["out of memory on cpu: going on with batches of 3 images"]
    stop.clear()
    # The same command goes on, whose wish for batches of six is known to be too much.
    done = extract(make_frames(40), backbone, SETTINGS, tmp_path / "out", "train", {}, say=said.append)
    assert len(said) == 1
    assert set(_Small.sizes) == {3}
    computed = FeatureCache.open(done.store).identity["computed"]
    assert (computed["batch"], computed["asked"]) == (3, 6)
    threes = SETTINGS.model_copy(update={"batch_size": 3})
    other = extract(make_frames(40), backbone, threes, tmp_path / "threes", "train", {})
    found, wanted = ({n: c for n, c in contents(one.store).items() if n != "zarr.json"} for one in (done, other))
    assert found == wanted
    assert verify(done.store).problems == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_write_that_fails_is_one_line_and_nothing_is_lost(
    make_frames, backbone, tmp_path, monkeypatch, contents, number
):
    write, written = Folder.write, []

    def full(place, key, content):
        if "/c/" in key and len(written) > 50:
            raise OSError(number, os.strerror(number))
        write(place, key, content)
        written.extend([key] if "/c/" in key else [])

    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(SpaceClipError, match=rf"{os.strerror(number)}.*committed so far (is|are) safe") as told:
        extract(make_frames(60), backbone, SETTINGS, tmp_path / "out", "train", {})
    assert "\n" not in str(told.value)
    assert ended()
    monkeypatch.undo()
    done = extract(make_frames(60), backbone, SETTINGS, tmp_path / "out", "train", {})
    assert 0 < done.computed < 60
    whole = extract(make_frames(60), backbone, SETTINGS, tmp_path / "whole", "train", {})
    assert contents(done.store) == contents(whole.store)


def test_a_destination_that_is_slow_holds_neither_memory_nor_an_interruption(
    make_frames, backbone, tmp_path, monkeypatch, contents
):
    write, rooms = Folder.write, []

    def slow(place, key, content):
        if key.startswith("layers"):
            time.sleep(0.2)
        write(place, key, content)

    def report(done, _total):
        if done >= 12:
            raise KeyboardInterrupt

    from spaceclip.extract.engine import buffers as module

    make = module.feature_objects
    monkeypatch.setattr(module, "feature_objects", lambda *given: (rooms.append(1), make(*given))[1])
    monkeypatch.setattr(Folder, "write", slow)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        extract(make_frames(200), backbone, SETTINGS, tmp_path / "out", "train", {}, report)
    took = time.monotonic() - start
    assert took < 4
    assert ended()
    monkeypatch.setattr(Folder, "write", write)
    done = extract(make_frames(200), backbone, SETTINGS, tmp_path / "out", "train", {})
    assert len(rooms) <= 3 * 4  # of the prediction, and of each run
    whole = extract(make_frames(200), backbone, SETTINGS, tmp_path / "whole", "train", {})
    assert contents(done.store) == contents(whole.store)


def test_a_buffer_is_not_given_back_while_an_object_of_it_is_being_written(make_frames, backbone, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from spaceclip.cache import ShardBuffer, StoreWriter

    spec = settled(store_spec(make_frames(4), backbone, SETTINGS), tmp_path, backbone, SETTINGS)
    writer, under_way = StoreWriter(tmp_path / "store.zarr", spec, {}), []

    class Place:
        def write(self, key, _content):
            if key.startswith("depth"):  # the first
                raise OSError(errno.ENOSPC, "No space left on device")
            under_way.append(key)
            time.sleep(0.3)
            under_way.remove(key)

    blank = {name: np.zeros((4, *array.shape[1:]), array.dtype) for name, array in writer._layout.items()}
    buffer = ShardBuffer.of(spec, 0, blank, list(writer._parts))
    stub: Any = Place()
    writer.place = stub
    with ThreadPoolExecutor(8) as pool:
        with pytest.raises(SpaceClipError, match="No space left"):
            writer.write_buffer(0, buffer, pool)
        assert under_way == []


def test_a_bad_sample_fails_its_own_shard_and_not_one_that_shares_its_batch(make_frames, backbone, tmp_path):
    frames, load = make_frames(12), make_frames(12).load

    def bad(index):
        if index == 5:
            raise SpaceClipError("frame005: cut short")
        return load(index)

    frames.load = bad
    large = SETTINGS.model_copy(update={"batch_size": 12})
    spec = settled(store_spec(frames, backbone, large), tmp_path, backbone, large)
    from spaceclip.cache import StoreWriter
    from spaceclip.extract.engine import StoreSink

    work, writer = Work.all_of(spec), StoreWriter(tmp_path / "store.zarr", spec, {})
    with Engine(frames, HostDevice(backbone, spec), spec, StoreSink(writer), batch=12, threads=2) as engine:
        shards = [engine.submit(work, shard) for shard in work.shards]
        records = [shard.future.exception() or shard.future.result() for shard in shards]
    assert [isinstance(one, SpaceClipError) for one in records] == [False, True, False]
    whole = extract(make_frames(12), backbone, large, tmp_path / "whole", "train", {})
    wanted = FeatureCache.open(whole.store).records
    assert [records[0], records[2]] == [wanted[0], wanted[2]]
    with pytest.raises(InterruptedError):
        engine.submit(work, 1).future.result()


def test_a_card_too_full_to_find_the_fastest_call_uses_the_plain_one(make_frames, backbone, tmp_path, monkeypatch):
    def full(_device, _images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(HostDevice, "prepare", full)
    assert extract(make_frames(8), backbone, SETTINGS, tmp_path, "train", {}).computed == 8
