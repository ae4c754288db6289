"""What happens to runs, done for real: kills, files that change under them, disks that fill, clocks that jump."""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import FeatureCache, SpaceClipError, only_writer, verify
from spaceclip.extract import ExtractSettings, FolderSettings, FolderSource, extract, load_backbone
from spaceclip.pipeline.progress import progress

SETTINGS = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=4)


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def pictures(tmp_path):
    """Twelve pictures of their own."""
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        Image.fromarray(draw.integers(0, 256, (24, 36, 3), dtype=np.uint8)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a small file system; skips where that is not allowed."""
    mounted = []

    def mount(*options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir(exist_ok=True)
        if not shutil.which("mount"):
            pytest.skip("no mount command")
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a file system cannot be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


# One process imports everything and then forks the runs that are killed: thirty times torch would take minutes.
KILLING = """
    import os, random, signal, time
    from pathlib import Path
    import torch
    import zarr.codecs
    torch.set_num_threads(1)
    from conftest import Frames
    from spaceclip.extract import ExtractSettings, extract, load_backbone
    backbone = load_backbone("random:{config}", precision="float32")
    encode = backbone.encode
    def slowly(images, layers):
        time.sleep(0.01)
        return encode(images, layers)
    backbone.encode = slowly
    settings = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=4, threads=2)
    draw, killed = random.Random({seed}), 0
    while killed < 30:
        run = os.fork()
        if run == 0:
            extract(Frames(1200), backbone, settings, Path("{out}"), "train", {{}})
            os._exit(0)
        time.sleep(draw.uniform(0, 0.6))
        os.kill(run, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(run, 0)[1])
    print(killed)
"""


def test_killed_thirty_times_anywhere_the_store_is_that_of_an_undisturbed_run(
    make_frames, backbone, tiny_config, tmp_path, start_script, contents
):
    out = tmp_path / "out"
    run = start_script(KILLING.format(config=tiny_config, out=out, seed=time.time_ns()))
    told, trouble = run.communicate(timeout=120)
    assert told == "30\n", trouble
    (store,) = out.glob("train-*.zarr")
    kept = len(list(store.glob("ledger/0*.json")))
    assert 0 < kept < 300
    done = extract(make_frames(1200), backbone, SETTINGS, out, "train", {})
    assert done.computed == 1200 - 4 * kept
    extract(make_frames(1200), backbone, SETTINGS, tmp_path / "whole", "train", {})
    assert contents(out) == contents(tmp_path / "whole")
    assert verify(done.store).problems == []


def vanish(picture):
    picture.unlink()


def cut(picture):
    picture.write_bytes(picture.read_bytes()[:900])


def replace(picture):
    Image.fromarray(np.zeros((48, 50, 3), np.uint8)).save(picture)


@pytest.mark.parametrize(
    ("change", "told"), [(vanish, "does not exist"), (cut, "cut short|damaged|cannot be"), (replace, "it was replaced")]
)
def test_pictures_that_change_after_they_were_listed(backbone, pictures, tmp_path, change, told):
    source = FolderSource(FolderSettings(images=pictures))
    change(pictures / "07.png")
    with pytest.raises(SpaceClipError, match=told) as caught:
        extract(source, backbone, SETTINGS, tmp_path / "out", "all", {})
    assert str(pictures / "07.png") in str(caught.value)
    assert "\n" not in str(caught.value)
    committed = len(list(tmp_path.glob("out/*.zarr/ledger/0*.json")))
    assert committed >= 1  # the shard before it, and perhaps the one after
    done = extract(source, backbone, SETTINGS, tmp_path / "out", "all", {}, on_error="quarantine")
    assert done.computed == 12 - 4 * committed - 1  # the bad one
    (sample,) = done.quarantined
    assert (sample.row, sample.id, sample.reason) == (7, "07", str(caught.value))


def test_of_two_runs_on_one_store_the_second_is_turned_away_and_the_first_unharmed(
    make_frames, backbone, tiny_config, tmp_path, start_script, contents
):
    out, go_on = tmp_path / "out", tmp_path / "go on"
    run = start_script(f"""
        import time
        from pathlib import Path
        from conftest import Frames
        from spaceclip.extract import ExtractSettings, extract, load_backbone
        backbone = load_backbone("random:{tiny_config}", precision="float32")
        def wait(done, _total):
            if done >= 12 and not Path("{go_on}").exists():
                print("half")
                while not Path("{go_on}").exists():
                    time.sleep(0.01)
        settings = ExtractSettings(layers=(0, 2, 3), batch_size=3, shard=4)
        extract(Frames(24), backbone, settings, Path("{out}"), "train", {{}}, wait)
    """)
    assert run.stdout is not None
    assert run.stdout.readline() == "half\n"
    frames = make_frames(24)
    with pytest.raises(SpaceClipError, match=rf"process {run.pid} on \S+ is writing this store; wait for it"):
        extract(frames, backbone, SETTINGS, out, "train", {})
    assert frames.loaded == []
    go_on.touch()
    assert run.communicate(timeout=60)[1] == ""
    whole = extract(make_frames(24), backbone, SETTINGS, tmp_path / "whole", "train", {})
    assert contents(out / whole.store.name) == contents(whole.store)


@pytest.mark.parametrize("name", ["with spaces and 'quotes'", "Zürich/日本語", "a*b?[c]"])
def test_any_name_of_a_folder_will_do(make_frames, backbone, tmp_path, name, contents):
    plain = extract(make_frames(10), backbone, SETTINGS, tmp_path / "plain", "train", {})
    odd = extract(make_frames(10), backbone, SETTINGS, tmp_path / name, "train", {})
    assert contents(odd.store) == contents(plain.store)
    assert len(FeatureCache.open(tmp_path / name)) == 10
    assert extract(make_frames(10), backbone, SETTINGS, tmp_path / name, "train", {}).computed == 0


@pytest.mark.parametrize("folder", [Path("x" * 300), Path(*["deep" * 25] * 41)], ids=["name", "path"])
def test_a_path_that_is_too_long_is_one_line(make_frames, backbone, tmp_path, folder):
    with pytest.raises(SpaceClipError, match="File name too long"):
        extract(make_frames(10), backbone, SETTINGS, tmp_path / folder, "train", {})


def test_a_target_that_cannot_be_written_is_one_line(make_frames, backbone, small_disk):
    target = small_disk("ro")
    frames = make_frames(10)
    with pytest.raises(SpaceClipError, match="Read-only file system") as caught:
        extract(frames, backbone, SETTINGS, target, "train", {})
    assert "\n" not in str(caught.value)
    assert frames.loaded == []


def test_a_disk_that_fills_ends_in_one_line_and_goes_on_when_room_is_made(
    make_frames, backbone, small_disk, tmp_path, contents
):
    disk = small_disk("size=4m")
    ballast = disk / "ballast"

    def fill(done, _total):
        if done >= 20 and not ballast.exists():
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

    with pytest.raises(SpaceClipError, match=r"No space left on device.*are safe: make room") as caught:
        extract(make_frames(60), backbone, SETTINGS, disk / "out", "train", {}, fill)
    assert "\n" not in str(caught.value)
    ballast.unlink()
    done = extract(make_frames(60), backbone, SETTINGS, disk / "out", "train", {})
    assert 0 < done.computed < 60
    whole = extract(make_frames(60), backbone, SETTINGS, tmp_path / "whole", "train", {})
    assert contents(done.store) == contents(whole.store)


def test_a_disk_too_small_is_refused_before_anything_is_computed(make_frames, backbone, small_disk):
    frames = make_frames(1200)
    with pytest.raises(SpaceClipError, match="make room"):
        extract(frames, backbone, SETTINGS, small_disk("size=1m"), "train", {})
    assert frames.loaded == []


def test_a_clock_that_is_set_back_changes_nothing(make_frames, backbone, tmp_path, monkeypatch):
    day, hours = time.time(), iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: day - 3600 * next(hours))
    with progress("extract", "images") as report:
        done = extract(make_frames(40), backbone, SETTINGS, tmp_path, "train", {}, report)
    assert done.receipt is not None
    assert 0 < done.receipt.seconds < 60
    assert all(rate > 0 for rate in done.receipt.rates.values())
    assert done.receipt.share > 0


def test_a_lock_left_by_a_dead_run_is_no_lock(tmp_path):
    store = tmp_path / "store.zarr"
    (tmp_path / ".store.zarr.lock").write_text("process 1 on elsewhere")
    with only_writer(store):
        second = only_writer(store)
        with pytest.raises(SpaceClipError, match=f"process {os.getpid()} on .* is writing this store"):
            second.__enter__()
    assert list(tmp_path.iterdir()) == []
