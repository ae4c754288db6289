"""`spaceclip predict` a second time: what is taken for done, what is done again, and what is never touched."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import CameraFacts
from spaceclip.pipeline.prediction import SpaceClip, images
from spaceclip.pipeline.prediction.cameras import TrainingCamera
from spaceclip.train import load_checkpoint, save_checkpoint


def names(folder="depth"):
    return sorted(file.relative_to(folder).as_posix() for file in Path(folder).rglob("*") if file.is_file())


def replace_with_one_alike(file):
    """Another picture of the same name, bytes and time."""
    before = file.stat()
    with Image.open(file) as picture:
        turned = picture.transpose(Image.Transpose.ROTATE_180)
    turned.save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def test_another_picture_of_the_same_name_bytes_and_time_is_done_again(photos, predict):
    file = Path("photos/a.jpg").rename("photos/a.bmp")
    with Image.open(file) as picture:
        picture.save(file)
    predict("photos", "--save", "npy")
    before = np.load("depth/a.npy")
    replace_with_one_alike(file)
    assert "1 of 3 images written (npy), 2 were there" in predict("photos", "--save", "npy")
    assert np.abs(np.load("depth/a.npy") - before).max() > 1e-3


def test_an_older_picture_put_in_the_place_of_one_is_done_again(photos, predict):
    predict("photos", "--save", "npy")
    shutil.copyfile("photos/trip/b.png", "photos/trip/day 2/c.webp")
    os.utime("photos/trip/day 2/c.webp", (0, 0))
    assert "1 of 3 images written" in predict("photos", "--save", "npy")
    np.testing.assert_allclose(np.load("depth/trip/day 2/c.npy"), np.load("depth/trip/b.npy"), rtol=1e-3)


def test_outputs_of_the_picture_before_do_not_lie_beside_those_of_the_new_one(photos, predict):
    predict("photos", "--save", "npy,png16")
    Image.new("RGB", (9, 8)).save("photos/a.jpg")
    predict("photos", "--save", "png")
    assert [name for name in names() if name.startswith("a.")] == ["a.depth.png"]
    assert "trip/b.npy" in names()
    assert "1 of 3 images written (npy), 2 were there" in predict("photos", "--save", "npy")
    assert np.load("depth/a.npy").shape == (8, 9)


@pytest.mark.parametrize(
    ("option", "differs"),
    [
        (("--flip-average",), "flip_average False there, True now"),
        (("--fov-x", "70"), "camera {'fx': None"),
        (("--smooth", "0.5"), "smooth 0.0 there, 0.5 now"),
    ],
)
def test_a_folder_holds_depth_of_one_set_of_settings(photos, predict, refused, option, differs):
    predict("photos/a.jpg")
    shutil.copy("photos/a.jpg", "photos/clip.gif")
    given = ("photos/a.jpg", "photos/clip.gif") if "--smooth" in option else ("photos",)
    assert differs in refused(*given, *option)


def test_of_a_rescaled_folder_it_is_said_that_it_is_rescaled(photos, predict, refused, monkeypatch):
    facts: CameraFacts = {"focal": [30.0, 32.0, 34.0], "size": [24, 32], "images": 3}
    monkeypatch.setattr(SpaceClip, "training_camera", TrainingCamera(facts))
    predict("photos", "--fov-x", "70")
    told = refused("photos", "--fov-x", "70", "--rescale-focal")
    assert "(rescale_focal False there, True now)" in told


def test_the_record_keeps_the_camera_of_each_image_and_video(photos, predict):
    shutil.copy("photos/trip/b.png", "photos/clip.gif")
    predict("photos/a.jpg", "photos/clip.gif", "--save", "npy", "--fx", "25")
    lines = [json.loads(line) for line in Path("depth/predict.jsonl").read_text().splitlines()]
    common = {"fx": 25, "fy": 25, "origin": "given", "factor": 1}
    assert [line for line in lines[1:] if isinstance(line, dict)] == [
        {"image": "a", **common, "cx": 9.5, "cy": 14.5, "size": [30, 20]},
        {"image": "clip", **common, "cx": 15.5, "cy": 11.5, "size": [24, 32]},
    ]


def test_the_same_weights_with_another_record_are_another_checkpoint(photos, predict, refused):
    predict("photos")
    checkpoint = load_checkpoint("results/tiny")
    preprocessing = {**checkpoint.info.preprocessing, "target_size": [16, 16]}
    info = checkpoint.info.model_copy(update={"preprocessing": preprocessing})
    save_checkpoint(Path("results/tiny"), checkpoint.decoder.state_dict(), info)
    assert "depth holds depth of other settings (preprocessing " in refused("photos")


def test_an_interrupted_run_leaves_whole_outputs_and_goes_on(photos, predict, monkeypatch):
    write = images._write

    def interrupted(job, one, depth):
        if one.input.name == "trip/b":
            raise KeyboardInterrupt
        write(job, one, depth)

    monkeypatch.setattr(images, "_write", interrupted)
    assert "spaceclip: interrupted; run the same command again to go on" in predict(
        "photos", "--save", "npy", fails=True
    )
    monkeypatch.setattr(images, "_write", write)
    there = [name for name in names() if name.endswith(".npy")]
    for name in there:
        np.load(Path("depth", name))
    assert "trip/b.npy" not in names()
    told = predict("photos", "--save", "npy")
    assert f"{3 - len(there)} of 3 images written (npy)" in told
    assert names() == ["a.npy", "predict.jsonl", "trip/b.npy", "trip/day 2/c.npy"]


def test_a_record_cut_short_costs_no_more_than_its_last_line(photos, predict):
    predict("photos", "--save", "npy")
    record = Path("depth/predict.jsonl")
    os.truncate(record, record.stat().st_size - 9)
    torn = record.read_text().splitlines()[-1].split('"')[1]
    Path(f"depth/{torn}.npy").unlink()
    assert "1 of 3 images written (npy), 2 were there" in predict("photos", "--save", "npy")
    assert "0 of 3 images written (npy), 3 were there" in predict("photos", "--save", "npy")


@pytest.mark.parametrize("out", ["photos", "photos/depth"])
def test_outputs_among_their_inputs_are_no_inputs(photos, predict, out):
    for _ in range(2):
        told = predict("photos", "--out", out, "--save", "png,side")
        assert "of 3 images written" in told
    assert "3 images, 3 to do" in predict("photos", "--dry-run")
    assert "2 images, 2 to do" in predict("photos/**/*.png", "photos/a.jpg", "--dry-run")
    given = [file for file in map(str, Path("photos").rglob("*.png")) if ".hidden" not in file]
    assert len(given) == 7
    assert "1 image, 1 to do" in predict(*given, "--dry-run")
    assert "no image in" in predict(f"{out}/a.side.png", "--dry-run", fails=True)


def test_a_file_of_the_user_is_never_overwritten(photos, predict, refused):
    Image.new("I;16", (20, 30), 5000).save("photos/a.depth.png")  # measured depth, as data sets name it
    before = Path("photos/a.depth.png").read_bytes()
    assert "photos/a.depth.png would be overwritten, and is no output of predict" in refused(
        "photos", "--out", "photos"
    )
    assert Path("photos/a.depth.png").read_bytes() == before
    assert not Path("photos/predict.jsonl").exists()


def test_of_two_runs_that_begin_a_folder_one_is_turned_away(photos, predict, refused, monkeypatch):
    prepared = images._prepared

    def meanwhile(job, one):
        if not Path("depth/predict.jsonl").exists():
            Path("depth").mkdir()
            Path("depth/predict.jsonl").write_text('{"flip_average": true}\n["b", ".npy", 1, 2, 3]')
        return prepared(job, one)

    monkeypatch.setattr(images, "_prepared", meanwhile)
    assert "depth: another run has begun there meanwhile; run the same" in refused("photos/a.jpg", "--save", "npy")
    assert names() == ["predict.jsonl"]
    assert "holds depth of other settings" in refused("photos/a.jpg", "--save", "npy")


def test_a_record_that_somebody_wrote_deletes_nothing_elsewhere(photos, predict):
    predict("photos/a.jpg", "--save", "npy")
    Path("depth/a").mkdir()
    with Path("depth/predict.jsonl").open("a") as file:
        file.write('\n["a", "/../../photos/notes.txt", 1, 2, 3]\n["a", ".ply"]\n["a", 5]\n[]\n"a"\n')
    Image.new("RGB", (9, 8)).save("photos/a.jpg")
    predict("photos/a.jpg", "--save", "npy")
    assert Path("photos/notes.txt").exists()


def test_a_record_that_somebody_wrote_deletes_no_file_that_predict_does_not_write(photos, predict):
    predict("photos/a.jpg", "--save", "npy")
    kept = ["a.raw", "a.jpg", "a.xmp", "a.jsonl.gz", "a.depth.png.raw", "a/000001.frames.csv", "a/1.npy"]
    Path("depth/a").mkdir()
    with Path("depth/predict.jsonl").open("a") as file:
        for name in kept:
            Path("depth", name).touch()
            file.write(f'\n["a", "{name[1:]}", "{Path("photos/a.jpg").absolute()}", 1, 2, 3]')
    Path("photos/a.jpg").touch()
    predict("photos/a.jpg", "--save", "npy")
    assert set(kept) < set(names())


def test_nothing_is_deleted_or_written_through_a_link_in_the_folder(photos, predict, refused):
    predict("photos", "--save", "npy")
    shutil.rmtree("depth/trip")
    Path("elsewhere").mkdir()
    for name in ("elsewhere/b.npy", "elsewhere/000001.npy"):
        Path(name).write_text("precious")
    Path("depth/trip").symlink_to("../elsewhere")
    Path("depth/a").symlink_to("../elsewhere")
    with Path("depth/predict.jsonl").open("a") as file:
        for name, ending, photo in (("trip/b", ".npy", "trip/b.png"), ("a", "/000001.npy", "a.jpg")):
            file.write(f'\n["{name}", "{ending}", "{Path("photos", photo).absolute()}", 1, 2, 3]')
    assert "depth/trip/b.npy would be written through a symbolic link in depth: give" in refused(
        "photos", "--save", "npy"
    )
    Path("photos/a.jpg").touch()
    predict("photos/a.jpg", "--save", "npy")
    assert {file.read_text() for file in Path("elsewhere").iterdir()} == {"precious"}
    assert len(list(Path("elsewhere").iterdir())) == 2


def test_a_link_to_an_output_is_no_input(photos, predict):
    predict("photos", "--save", "side")
    Path("link.png").symlink_to("depth/a.side.png")
    assert "no image in link.png" in predict("link.png", "--dry-run", fails=True)


def test_depth_of_one_picture_is_not_replaced_by_that_of_another_folder_s(photos, predict, refused):
    shutil.copytree("photos", "others")
    Image.new("RGB", (9, 8)).save("others/a.jpg")
    predict("photos/a.jpg", "--save", "npy,png")
    before = Path("depth/a.npy").read_bytes()
    told = refused("others/a.jpg", "--save", "npy")
    assert f"depth/a is the depth of {Path('photos/a.jpg').absolute()}, and would become that of others/a.jpg" in told
    assert Path("depth/a.npy").read_bytes() == before
    assert Path("depth/a.depth.png").exists()


def test_pictures_whose_folder_was_moved_are_not_done_again(photos, predict):
    predict("photos", "--save", "npy")
    Path("photos").rename("moved")
    assert "0 of 3 images written (npy), 3 were there" in predict("moved", "--save", "npy")


def test_what_a_killed_run_left_of_its_outputs_is_deleted_by_the_next(photos, predict):
    predict("photos", "--save", "npy,png")
    left = ["depth/.a.npy.0123456789ab", "depth/trip/.b.depth.png.0123456789ab"]
    others = [
        "depth/.a.ply.0123456789ab",
        "depth/.notes.txt.0123456789ab",
        "depth/.a.npy.swp",
        "photos/.a.npy.0123456789ab",
    ]
    for name in (*left, *others):
        Path(name).touch()
    predict("photos", "--save", "npy", "--dry-run")
    assert all(Path(name).exists() for name in left)
    predict("photos", "--save", "npy")
    assert not any(Path(name).exists() for name in left)
    assert all(Path(name).exists() for name in others)
