"""Threads that read files: how many pixels they decode at once, and what becomes of reads that never end."""

import threading
import time

import numpy as np
import pytest
from PIL import Image, ImageFile
from spaceclip.extract import ExtractSettings, FolderSettings, FolderSource, load_backbone, reading, store_spec
from spaceclip.extract.engine import held_bytes
from spaceclip.extract.engine.receipt import Stage
from spaceclip.extract.reading import HangingError, Readers, read_each, wait_to_decode
from spaceclip.extract.sources.folder.headers import read_all


@pytest.fixture
def hang():
    """Never ends, until the test does."""
    ended = threading.Event()
    yield lambda: ended.wait(20)
    ended.set()


def test_large_pictures_wait_for_one_another_and_small_ones_do_not(tmp_path, monkeypatch):
    draw, files = np.random.default_rng(0), {}
    for at in range(16):
        side = 10 if at % 2 else 100
        files[at] = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(files[at]).save(tmp_path / f"{at:02d}.png")
    source = FolderSource(FolderSettings(images=tmp_path))
    load, lock, at_once, most = ImageFile.ImageFile.load, threading.Lock(), {10: 0, 100: 0}, {10: 0, 100: 0}

    def slowly(picture):
        with lock:
            at_once[picture.width] += 1
            most[picture.width] = max(most[picture.width], at_once[picture.width])
        time.sleep(0.02)
        with lock:
            at_once[picture.width] -= 1
        return load(picture)

    monkeypatch.setattr(ImageFile.ImageFile, "load", slowly)
    monkeypatch.setattr(reading, "SMALL", 100)
    monkeypatch.setattr(reading, "_BYTES", 0)
    monkeypatch.setattr(reading, "_BYTES_A_THREAD", 4 * 3000)  # eight threads may decode two of 10,000 at once
    found = list(read_each(range(16), lambda at: source.load(at).image, str, 8))
    for at, image in files.items():
        np.testing.assert_array_equal(found[at], image)
    assert most[100] == 2
    assert most[10] > 2


def test_the_memory_that_is_asked_for_counts_what_is_decoded_at_once(make_frames, tiny_config):
    spec = store_spec(make_frames(4), load_backbone(f"random:{tiny_config}"), ExtractSettings(layers=(0, 2)))
    few, many = (held_bytes(spec, 128, threads) for threads in (8, 64))
    assert few > 4 * 128e6
    assert many - few == 4 * (64 - 8) * 16e6  # nothing else depends on them here


def test_to_wait_for_others_is_not_to_hang_and_what_hangs_keeps_nothing(monkeypatch, hang):
    monkeypatch.setattr(reading, "HANG_SECONDS", 0.4)
    monkeypatch.setattr(reading, "SLOW_SECONDS", 0.2)
    said = []

    def read(at):
        time.sleep(0.05 * at)
        wait_to_decode(10**9)  # more than there is: all of it
        if at == 0:
            hang()
        return at

    first, *others = read_each(range(3), read, str, 3, said.append)
    assert isinstance(first, HangingError)
    assert others == [1, 2]
    assert [line.split(":")[0] for line in said] == ["waiting for 0"]


def test_time_that_is_spent_waiting_for_others_is_not_counted_as_work():
    stage = Stage("decoding", 3)

    def read():
        wait_to_decode(10**9)
        time.sleep(0.1)

    with Readers(3, "read", busy=stage.busy) as readers:
        for ended in [readers.submit(read, "", lambda _found: None, lambda _error: None) for _ in range(3)]:
            assert ended.wait(5)
        time.sleep(0.05)  # until the last has said so
    assert 0.3 < stage.receipt().busy < 0.45  # and not 0.6


def test_who_waits_for_others_is_gone_when_the_run_ends(hang):
    waiting = threading.Event()

    def hold():
        wait_to_decode(10**9)
        waiting.set()
        hang()

    def wait():
        waiting.wait(5)
        wait_to_decode(2_000_000)

    with Readers(2, "waiting") as readers:
        for read in (hold, wait):
            readers.submit(read, "", lambda _found: None, lambda _error: None)
        assert waiting.wait(5)
        time.sleep(0.05)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("waiting-")]
    for thread in threads:
        thread.join(0.5)
    assert [thread.is_alive() for thread in threads] in ([True, False], [False, True])  # one hangs


def test_headers_that_hang_are_one_line(monkeypatch, hang):
    monkeypatch.setattr(reading, "HANG_SECONDS", 0.2)
    with pytest.raises(HangingError, match=r"^image 3: reading it has not ended in 0 s: is its file a pipe"):
        read_all(range(20), lambda at: at == 3 and hang(), "image", lambda at: f"image {at}")
