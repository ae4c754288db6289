"""`spaceclip predict`: what it writes, goes on with, and refuses."""

import errno
import json
import os
import pickle
import shutil
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache.places import folder
from spaceclip.pipeline.prediction import SpaceClip, images, job
from spaceclip.pipeline.prediction.inputs import find_inputs
from spaceclip.pipeline.prediction.job import THREADS, Job, Prepared
from spaceclip.pipeline.prediction.pool import Pool
from spaceclip.train import CheckpointInfo, load_checkpoint, save_checkpoint

CHECKPOINT = "results/tiny"


def outputs(below="depth"):
    return sorted(file.relative_to(below).as_posix() for file in Path(below).rglob("*") if file.is_file())


def test_a_folder_is_mirrored_in_every_format(photos, predict, tiny):
    told = predict("photos", "--save", "png,npy,png16,ply,side")
    stems, suffixes = ("a", "trip/b", "trip/day 2/c"), (".depth.png", ".depth16.png", ".npy", ".ply", ".side.png")
    assert outputs() == sorted(["predict.jsonl", *(stem + suffix for stem in stems for suffix in suffixes)])
    assert (
        "\ndepth: 3 of 3 images written (png, npy, png16 in millimetres, ply, side); the first: depth/a.depth.png\n"
        in told
    )
    model = SpaceClip.from_pretrained(CHECKPOINT, backbone=tiny, device="cpu")
    for stem, name in zip(stems, ("a.jpg", "trip/b.png", "trip/day 2/c.webp"), strict=True):
        found = np.load(f"depth/{stem}.npy")
        with Image.open(f"photos/{name}") as picture:
            assert found.shape == (picture.height, picture.width)
        np.testing.assert_allclose(found, model.predict(f"photos/{name}").depth, rtol=0.02)
        with Image.open(f"depth/{stem}.depth16.png") as picture:
            np.testing.assert_allclose(np.asarray(picture), found * 1000, atol=0.51)
            assert picture.info["Checkpoint"] == model.info.sha256


def test_files_and_patterns_are_taken_each_once(photos, predict):
    predict("photos/a.jpg", "photos/**/*.png", "photos/trip/b.png", "photos/[at]*/day*/*", "--save", "npy")
    assert outputs() == ["a.npy", "predict.jsonl", "trip/b.npy", "trip/day 2/c.npy"]


def test_what_is_whole_is_not_done_again(photos, predict, monkeypatch):
    predict("photos", "--save", "npy")
    Path("depth/trip/b.npy").unlink()
    before = Path("depth/a.npy").stat().st_mtime_ns
    later = Path("depth/trip/day 2/c.npy").stat().st_mtime_ns + 1_000_000  # a file system's clock has coarse steps
    os.utime("photos/trip/day 2/c.webp", ns=(later, later))  # taken anew
    assert "depth: 2 of 3 images written (npy), 1 were there" in predict("photos", "--save", "npy")
    assert Path("depth/a.npy").stat().st_mtime_ns == before
    monkeypatch.setattr(SpaceClip, "backbone", None)  # nothing is left that would need it
    assert "0 of 3 images written (npy), 3 were there" in predict("photos", "--save", "npy")


def test_other_settings_in_one_folder_are_refused(photos, predict, refused):
    predict("photos/a.jpg")
    assert "depth holds depth of other settings (flip_average False there, True now)" in refused(
        "photos", "--flip-average"
    )
    Path("depth/predict.jsonl").write_text("{")
    assert "predict.jsonl: is no record of a prediction" in refused("photos")


def test_the_dry_run_writes_nothing_and_loads_no_encoder(photos, predict, monkeypatch):
    monkeypatch.setattr(SpaceClip, "backbone", None)
    assert predict("photos", "--save", "png,ply", "--dry-run") == "depth: 3 images, 3 to do; png, ply of each, on cpu\n"
    assert not Path("depth").exists()


def test_flip_averaging_is_that_of_the_class(photos, predict, tiny):
    predict("photos/a.jpg", "--save", "npy", "--flip-average")
    expected = SpaceClip.from_pretrained(CHECKPOINT, backbone=tiny, device="cpu").predict(
        "photos/a.jpg", flip_average=True
    )
    np.testing.assert_allclose(np.load("depth/a.npy"), expected.depth, rtol=1e-3)
    assert json.loads(Path("depth/predict.jsonl").read_text().splitlines()[0])["flip_average"] is True


def test_images_that_differ_in_their_suffix_alone_keep_it(photos, predict):
    Image.new("RGB", (8, 8)).save("photos/a.png")
    predict("photos", "--save", "npy")
    assert outputs() == ["a.jpg.npy", "a.png.npy", "predict.jsonl", "trip/b.npy", "trip/day 2/c.npy"]


def test_corrupt_pictures_are_a_line_each_and_the_others_are_done(photos, predict):
    os.truncate("photos/trip/b.png", 900)
    Path("photos/empty.jpg").touch()
    told = predict("photos", "--save", "npy", "--batch-size", "1", code=3)
    assert "photos/trip/b.png cannot be read" in told
    assert "photos/empty.jpg is empty (0 bytes)" in told
    assert "2 of 4 images written (npy), 2 could not be used" in told
    assert told.count("\n") == 5
    assert outputs() == ["a.npy", "predict.jsonl", "trip/day 2/c.npy"]


def test_unusual_pictures_are_predicted_at_their_own_upright_size(photos, predict):
    draw, exif, found = np.random.default_rng(0), Image.Exif(), {}
    exif[0x0112] = 6
    photo = Image.fromarray(draw.integers(0, 256, (30, 20, 3), dtype=np.uint8))
    Path("odd").mkdir()
    photo.convert("CMYK").save("odd/cmyk.jpg")
    photo.convert("P").save("odd/palette.png")
    photo.convert("LA").save("odd/alpha.png")
    photo.save("odd/turned.jpg", exif=exif)
    photo.crop((0, 0, 1, 1)).save("odd/one.png")
    Image.fromarray(draw.integers(0, 65536, (30, 20), dtype=np.uint16)).save("odd/deep.png")
    photo.save("odd/still.webp", lossless=True)
    photo.save("odd/animated.webp", save_all=True, append_images=[photo.rotate(180)], lossless=True)
    told = predict("odd", "--save", "npy,side,glb")
    assert "8 of 8 images written" in told
    for file in Path("depth").glob("*.npy"):
        found[file.stem] = np.load(file)
        assert np.isfinite(found[file.stem]).all()
    assert found.pop("one").shape == (1, 1)
    assert found.pop("turned").shape == (20, 30)
    assert {depth.shape for depth in found.values()} == {(30, 20)}
    np.testing.assert_allclose(found["animated"], found["still"], rtol=0.02)


def test_pictures_that_cannot_be_are_a_line_each(photos, predict, monkeypatch):
    os.truncate("photos/a.jpg", Path("photos/a.jpg").stat().st_size // 2)
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT"
    Path("photos/bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content + struct.pack(">I", zlib.crc32(b"IDAT")))
    told = predict("photos", "--save", "npy", code=3)
    assert "photos/a.jpg cannot be read (" in told
    assert (
        "photos/bomb.png is too large (900000000 pixels), expected at most 89,478,485 pixels: shrink or remove it"
        in told
    )
    assert "2 of 4 images written (npy), 2 could not be used" in told
    assert told.count("\n") == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": {"name": "../../../etc/passwd"}}, "etc/passwd"),
        (
            {"preprocessing": {"target_size": [10**6, 10**6]}},
            "target_size of [1000000, 1000000], expected [height, width]",
        ),
        (None, "checkpoint.safetensors"),
    ],
)
def test_a_crafted_checkpoint_is_one_line_and_runs_nothing(photos, spaceclip, tiny, change, said):
    class Trap:
        def __reduce__(self):
            return os.mkdir, ("sprung",)

    info = CheckpointInfo.read(Path(CHECKPOINT, "checkpoint.json"))
    if change:
        changed = {name: {**getattr(info, name), **value} for name, value in change.items()}
        weights = load_checkpoint(CHECKPOINT).decoder.state_dict()
        save_checkpoint(Path(CHECKPOINT), weights, info.model_copy(update=changed))
    else:
        Path(CHECKPOINT, "checkpoint.safetensors").write_bytes(pickle.dumps(Trap()))
    backbone = () if change and "backbone" in change else ("--backbone", tiny)
    told = spaceclip("predict", "photos", "--checkpoint", CHECKPOINT, *backbone, "--out", "depth", fails=True).output
    assert told.count("\n") == 1
    assert said in told
    assert not Path("sprung").exists()
    assert not Path("depth").exists()


def test_memory_holds_a_few_images_whatever_their_number(photos, predict, monkeypatch):
    for number in range(60):
        shutil.copy("photos/a.jpg", f"photos/trip/{number}.jpg")
    alive, most = set(), []
    prepared, write = images._prepared, images._write

    def counted(job, one):
        alive.add(one.name)
        most.append(len(alive))
        return prepared(job, one)

    def written(job, one, depth):
        write(job, one, depth)
        alive.discard(one.input.name)

    monkeypatch.setattr(images, "_prepared", counted)
    monkeypatch.setattr(images, "_write", written)
    predict("photos", "--save", "npy", "--batch-size", "4")
    assert len(most) == 63
    assert max(most) <= 2 * 4 + 4 + 3 * THREADS


def test_large_pictures_do_not_wait_for_their_turn_in_memory(photos, predict, tiny):
    draw = np.random.default_rng(0)
    large = np.tile(draw.integers(0, 256, (20, 24, 3), dtype=np.uint8), (50, 50, 1))
    Image.fromarray(large).save("photos/large.png", compress_level=1)
    model = SpaceClip.from_pretrained(CHECKPOINT, backbone=tiny, device="cpu")
    what = Job(model, Path("depth"), ["ply"])
    prepared = [images._prepared(what, one) for one in find_inputs(["photos"], Path("depth"), print)]
    assert [isinstance(one, Prepared) and one.image is None for one in prepared] == [False, True, False, False]
    predict("photos/large.png", "--save", "ply")
    vertices = np.frombuffer(Path("depth/large.ply").read_bytes().partition(b"end_header\n")[2], "<f4,<f4,<f4,u1,u1,u1")
    np.testing.assert_array_equal(np.stack([vertices[f"f{at}"] for at in (3, 4, 5)], 1), large[::2, ::2].reshape(-1, 3))


@pytest.mark.parametrize(
    ("now", "said"), [(None, "does not exist"), ((9, 8), "changed while it was read: run the same")]
)
def test_a_picture_that_vanishes_or_changes_meanwhile_is_a_line_and_the_others_are_done(
    photos, predict, monkeypatch, now, said
):
    decode = SpaceClip.decode

    def meanwhile(self, *given, **options):
        Path("photos/a.jpg").unlink()
        if now:
            Image.new("RGB", now).save("photos/a.jpg")
        monkeypatch.setattr(SpaceClip, "decode", decode)
        return decode(self, *given, **options)

    monkeypatch.setattr(images, "_KEPT_PIXELS", 0)
    monkeypatch.setattr(SpaceClip, "decode", meanwhile)
    told = predict("photos", "--save", "ply", code=3)
    assert f"photos/a.jpg {said}" in told
    assert "depth: 2 of 3 images written (ply), 1 could not be used" in told
    assert "not known of 2 images" in told
    assert outputs() == ["predict.jsonl", "trip/b.ply", "trip/day 2/c.ply"]


def test_what_is_under_way_weighs_no_more_than_allowed_unless_it_is_alone():
    lock, at_once, most = threading.Lock(), [0], []

    def work(weight):
        with lock:
            at_once[0] += weight
            most.append(at_once[0])
        time.sleep(0.002)
        with lock:
            at_once[0] -= weight

    with Pool(4, "test", most=10) as pool:
        for weight in (3, 3, 3, 3, 50, 4, 4, 4, 1, 1, 1):
            pool.submit(work, weight, weight=weight)
    assert sorted(most)[-2] <= 10
    assert max(most) == 50


def test_no_permission_to_write_below_is_one_line(photos, refused, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied", "depth/a.npy")

    monkeypatch.setattr(job, "encoded", denied)
    assert "depth/a.npy: Permission denied; mend that" in refused("photos", "--save", "npy")


@pytest.mark.parametrize(("module", "name", "said"), [(folder, "_write_direct", "depth/a.npy"), (os, "fsync", "depth")])
def test_a_full_disk_is_one_line_that_names_what_could_not_be_written(photos, refused, monkeypatch, module, name, said):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, name, full)
    told = refused("photos/a.jpg", "--save", "npy")
    assert told.startswith(f"Error: {said}: No space left on device; mend that")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.jpg",), "nowhere.jpg does not exist: expected an image, a video, a folder, a pattern or a list"),
        (("photos", "--backbone", "embedded:clip-tiny"), "embedded:clip-tiny has other weights than the one recorded"),
        (("",), "an input is the empty text: expected an image"),
        (("photos/*.tiff",), "no image in photos/*.tiff: looked for files that end in .jpg"),
        (("photos/a.jpg", "--out", "photos/notes.txt"), "photos/notes.txt: cannot be written"),
        (("photos/a.jpg", "other/a.jpg"), "would both be written to depth/a"),
        (("photos", "--checkpoint", "results/none"), "results/none: no such folder (results has checkpoints tiny)"),
    ],
)
def test_what_cannot_be_is_one_line(photos, refused, tiny, spaceclip, arguments, said, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Path("other").mkdir()
    shutil.copy("photos/a.jpg", "other/a.jpg")
    if "--checkpoint" in arguments or "--backbone" in arguments:
        checkpoint = () if "--checkpoint" in arguments else ("--checkpoint", CHECKPOINT)
        told = spaceclip("predict", *arguments, *checkpoint, "--out", "depth", fails=True).output
        assert told.count("\n") == 1
    else:
        told = refused(*arguments)
    assert said in told
    assert not Path("depth").exists()


def test_an_unknown_format_is_refused(photos, predict):
    assert "'exr' is no format; choose among png, npy, png16, ply, glb, side, video" in predict(
        "photos", "--save", "png,exr", fails=True
    )
