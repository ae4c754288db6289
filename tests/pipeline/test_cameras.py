"""Whether it is metres: cameras from lists to stores, checkpoints and predictions."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import CameraFacts, FeatureCache, SpaceClipError
from spaceclip.extract import FolderData, NyuData, SyntheticData, describe, focal_35mm, open_splits
from spaceclip.extract.sources.source import camera_facts
from spaceclip.extract.sources.synthetic.camera import place_camera
from spaceclip.extract.sources.synthetic.rooms import room
from spaceclip.pipeline.prediction import CameraChoice, SpaceClip
from spaceclip.pipeline.prediction.cameras import TrainingCamera, said_of
from spaceclip.pipeline.prediction.intrinsics import Intrinsics
from spaceclip.train import CheckpointInfo

FACTS = CameraFacts(focal=[500.0, 518.9, 520.0], size=[480, 640], images=7)


def camera_of(data):
    splits = open_splits(data)
    return describe(data, "train", splits).get("camera")


def with_exif(picture, millimetres, path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = millimetres
    exif[0x0112] = 6
    picture.save(path, exif=exif)


def test_lists_say_the_camera_and_folders_do_not(pictures, tmp_path):
    rows = [{"image": f"scene00/{n}.png", "depth": f"scene00/{n}.png", "focal": 40 + n} for n in range(2)]
    rows.append({"image": "scene01/0.png", "depth": "scene01/0.png"})
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = {"images": pictures / "rgb", "depth": pictures / "depth", "depth_scale": 1000}
    assert camera_of(FolderData(**folder, manifest=manifest)) == {
        "focal": [40.0, 40.5, 41.0],
        "size": [24, 32],
        "images": 2,
    }
    assert camera_of(FolderData(**folder)) is None


def test_the_lists_of_nyu_say_it(made_up, tmp_path):
    made_up.nyu(tmp_path, size=(48, 64))
    found: Any = camera_of(NyuData(root=tmp_path, allow_odd_depth=True))
    assert found["focal"] == [518.8579] * 3
    assert found["size"] == [48, 64]


def test_rendered_scenes_are_seen_by_cameras_of_what_is_said():
    found: Any = camera_of(SyntheticData(scenes=8, height=48, width=64))
    least, _, greatest = found["focal"]
    for seed in range(8):
        camera = place_camera(room(np.random.default_rng(seed)), 48, 64, np.random.default_rng(seed))
        assert least - 1e-3 <= camera.focal <= greatest + 1e-3
    assert least == pytest.approx(32 / math.tan(math.radians(35)), abs=1e-4)


def test_focal_lengths_of_several_sizes_are_brought_to_the_commonest():
    assert camera_facts([100.0, 50.0, 60.0, None], [(20, 40), (10, 20), (10, 20), (10, 20)]) == {
        "focal": [50.0, 50.0, 60.0],
        "size": [10, 20],
        "images": 3,
    }
    assert camera_facts([None, 3.0], [(1, 1), None]) is None


def test_the_camera_is_of_no_fingerprint_and_goes_from_store_to_checkpoint(trained, spaceclip, pictures):
    cache = FeatureCache.open("features/tiny/train.json")
    assert "camera" not in cache.about
    assert "camera" not in json.dumps(cache.identity)
    assert all("camera" not in store for store in CheckpointInfo.read(Path("results/tiny/checkpoint.json")).stores)
    rows = [
        f"{p.relative_to(pictures / 'rgb')} {p.relative_to(pictures / 'rgb')} 28"
        for p in (pictures / "rgb").rglob("*.png")
    ]
    Path("list.txt").write_text("\n".join(sorted(rows)))
    chosen = ("--set", "data.manifest=list.txt")
    spaceclip("extract", "--config", "configs/tiny.yaml", *chosen, "--out", "features/listed")
    listed = FeatureCache.open("features/listed/train.json")
    assert listed.about["camera"] == {"focal": [28.0] * 3, "size": [24, 32], "images": 24}
    assert listed.fingerprint == cache.fingerprint
    spaceclip(
        "train",
        "--config",
        "configs/tiny.yaml",
        "--features",
        "features/listed",
        "--out",
        "results/listed",
        "--set",
        "train.epochs=1",
    )
    assert CheckpointInfo.read(Path("results/listed/checkpoint.json")).stores[0].get("camera") == listed.about["camera"]


@pytest.fixture
def model(trained, tiny):
    """A model that knows the camera of its training."""
    model = SpaceClip.from_pretrained("results/tiny", backbone=tiny, device="cpu", precision="float32")
    stores = [
        {**store, "camera": {"focal": [30.0, 32.0, 34.0], "size": [24, 32], "images": 3}} for store in model.info.stores
    ]
    model.info = model.info.model_copy(update={"stores": stores})
    return model


def test_a_thing_seen_through_a_longer_lens_is_as_many_times_as_far():
    training = TrainingCamera(FACTS)
    # What is 2 m wide at 10 m fills the same part of the frame as at 20 m through a lens of twice the length.
    near = Intrinsics.centred((480, 640), 518.9)
    far = Intrinsics.centred((960, 1280), 4 * 518.9)
    assert 2 * near.fx / 10 / 640 == pytest.approx(2 * far.fx / 20 / 1280)
    assert training.factor(near) == pytest.approx(1)
    assert training.factor(far) == pytest.approx(2)
    assert training.is_like(near)
    assert not training.is_like(far)


def test_a_camera_that_is_turned_keeps_its_factor():
    training = TrainingCamera(FACTS)
    lying, standing = Intrinsics.centred((480, 640), 400), Intrinsics.centred((640, 480), 400)
    assert training.factor(standing) == pytest.approx(training.factor(lying))
    # A frame of another shape: focal length over width and over height ask for different factors; between them.
    wide = Intrinsics.centred((240, 640), 518.9)
    assert training.factor(wide) == pytest.approx(math.sqrt(1 * 2))


def test_a_camera_that_is_not_known_is_guessed_to_be_that_of_the_training(model):
    found = model.predict(np.zeros((24, 32, 3), np.uint8)).camera
    assert (found.fx, found.fy, found.cx, found.cy) == pytest.approx((32, 32, 15.5, 11.5))
    assert found.is_guess
    for size in ((48, 64), (64, 48), (30, 90)):
        assert TrainingCamera(FACTS).factor(TrainingCamera(FACTS).guess(size)) == pytest.approx(1)


def test_a_field_of_view_of_points_is_said_where_points_are_written(photos, predict):
    for kinds, fields in (("npy,side", 0), ("ply", 1), ("npy,glb", 1)):
        told = predict("photos", "--save", kinds)
        assert "camera: not known of 3 images" in told
        assert told.count("; points are drawn for 60 degrees; say it by") == fields


def test_python_warns_of_another_lens_unless_depth_is_rescaled(model, recwarn):
    image = np.zeros((24, 32, 3), np.uint8)
    told = r"camera: field of view 53.1 degrees \(given\): that of the training is 50.4 to 56.1 degrees, so depths are"
    model.predict(image, camera=CameraChoice(fx=32))
    model.predict(image)
    model.predict(image, camera=CameraChoice(fx=64), rescale_focal=True)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=told.replace("53.1", "28.1") + " too small: times 2.000 they are metres$"):
        model.predict(image, camera=CameraChoice(fx=64))


def test_depth_is_rescaled_only_where_asked(model):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    camera = CameraChoice(fx=60)
    rescaled = model.predict(image, camera=camera, rescale_focal=True)
    with pytest.warns(UserWarning, match="too small: times 1.500"):
        plain = model.predict(image, camera=camera)
    np.testing.assert_allclose(rescaled.depth, plain.depth * 1.5, rtol=1e-5)
    assert rescaled.depth_range[1] == pytest.approx(1.5 * plain.depth_range[1])
    assert rescaled.facts["Focal-Rescaled"] == "times 1.5000"
    assert "Focal-Rescaled" not in plain.facts
    with pytest.raises(SpaceClipError, match="its camera is not known"):
        model.predict(image, rescale_focal=True)


@pytest.mark.parametrize(
    "camera",
    [
        CameraChoice(60, 50, 10, 20),
        Intrinsics(60, 50, 10, 20, (30, 40)),
        (60, 50, 10, 20),
        np.array([[60, 0, 10], [0, 50, 20], [0, 0, 1]]),
    ],
)
def test_a_camera_is_given_in_each_of_its_forms(model, camera):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    plain, found = model.predict(image), model.predict(image, camera=camera, rescale_focal=True)
    assert (found.camera.fx, found.camera.fy, found.camera.cx, found.camera.cy) == (60, 50, 10, 20)
    np.testing.assert_allclose(found.depth, plain.depth * 1.5 * math.sqrt(50 / 60), rtol=1e-5)
    np.testing.assert_array_equal(found.points(), found.points((60, 50, 10, 20)))


def test_a_camera_of_another_size_or_kind_is_one_line(model):
    image = np.zeros((30, 40, 3), np.uint8)
    for camera, said in (
        (Intrinsics(60, 60, 10, 20, (40, 30)), "of images of 40 x 30, this one is 30 x 40"),
        ((60, 60, 45, 20), "cx is 45, outside the image of 40 pixels"),
        (60, r"intrinsics of shape \[\]: expected \(fx, fy, cx, cy\)"),
        ({"fx": 60}, r"intrinsics of type dict: expected \(fx, fy, cx, cy\)"),
        ("fx", "intrinsics of type str: expected"),
        ((10**400, 1, 1, 1), "intrinsics of type tuple: expected"),
    ):
        with pytest.raises(SpaceClipError, match=said) as refused:
            model.predict(image, camera=camera)
        assert "\n" not in str(refused.value)


def test_the_lens_is_that_of_the_exif_data(model, tmp_path):
    for name in ("a.jpg", "a.webp", "a.png"):
        with_exif(Image.new("RGB", (40, 30)), 26, tmp_path / name)
        with pytest.warns(UserWarning, match=r"by its EXIF data .* too large: times 0.751"):
            found = model.predict(tmp_path / name)
        assert found.depth.shape == (40, 30)  # turned
        # The diagonal of 36 x 24 mm is 43.27 mm, that of the image 50 pixels.
        assert found.camera.fx == pytest.approx(26 / 43.2666 * 50, rel=1e-4)
        assert "by its EXIF data (26 mm on 35 mm film)" in str(found.camera)
    for millimetres in (0, 1, 65535):
        with_exif(Image.new("RGB", (40, 30)), millimetres, tmp_path / "b.jpg")
        assert model.predict(tmp_path / "b.jpg").camera.is_guess
    for broken in (b"", b"II*\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\4\0\0\0\1\xff\xff\xff\xff"):
        picture = Image.new("RGB", (2, 2))
        picture.info["exif"] = broken
        assert focal_35mm(picture) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fx": 0}, "fx is 0: expected a focal length"),
        ({"fx": math.nan}, "fx is nan"),
        ({"fov_x": 180}, "fov_x is 180: expected a horizontal field of view between 0 and 180"),
        ({"fx": 5, "fov_x": 60}, "keep one of them"),
        ({"cx": 5}, "cx is given without fx"),
        ({"fx": 5, "fy": -1}, "fy is -1: expected a focal length"),
        ({"fx": 5, "cx": math.nan}, "cx is nan: expected the principal point"),
        ({"fx": 5, "cy": -9}, "cy is -9: expected the principal point"),
        ({"fov_x": 0}, "fov_x is 0"),
        ({"fov_x": math.nan}, "fov_x is nan"),
    ],
)
def test_impossible_cameras_are_refused_at_once(options, said):
    with pytest.raises(SpaceClipError, match=said):
        CameraChoice(**options)


DOUBTFUL = [
    ((320, 320, 29.5, 239.5), "cx 29.5 is far from the middle of 640 pixels: of another image size?"),
    ((320, 320, 319.5, 400), "cy 400 is far from the middle of 480 pixels: of another image size?"),
    ((5, 5, 319.5, 239.5), "fx 5 of 640 pixels is a field of view of 178 degrees (given): hardly that of a camera"),
    ((40000, 40000, 319.5, 239.5), "fx 40000 of 640 pixels is a field of view of 0.917 degrees (given): hardly that"),
]


@pytest.mark.parametrize(("camera", "said"), DOUBTFUL)
def test_a_camera_that_can_hardly_be_meant_is_doubted_wherever_it_is_given(model, camera, said):
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.warns(UserWarning, match=f"^camera: {re.escape(said)}"):
        model.predict(image, camera=camera, rescale_focal=True)
    found = model.predict(image)
    with pytest.warns(UserWarning, match=f"^{re.escape(said)}"):
        found.points(camera)
    found = Intrinsics.of((480, 640), camera)
    assert said_of(Counter([found, replace(found, fy=7)]), TrainingCamera(FACTS), rescaled=False)[-1].startswith(
        f"camera: {said}"
    )


def test_a_camera_that_is_only_odd_is_not_doubted(model):
    found = model.predict(np.zeros((480, 640, 3), np.uint8))
    for camera in ((100, 300, 160, 358), (18000, 18000, 479, 120), Intrinsics.guessed((480, 640))):
        assert len(found.points(camera)) == np.count_nonzero(found.valid)  # a warning would be an error


def test_the_command_doubts_a_principal_point_of_another_size(trained, spaceclip, tiny):
    Image.new("RGB", (640, 480)).save("a.png")
    given = ("--fx", "500", "--cx", "29.5", "--cy", "19.5")
    told = spaceclip("predict", "a.png", "--checkpoint", "results/tiny", "--backbone", tiny, "--out", "d", *given)
    assert "camera: cx 29.5 is far from the middle of 640 pixels: of another image size?\n" in told.output


def test_what_is_said_of_cameras():
    training = TrainingCamera(FACTS)
    like, other = Intrinsics.centred((480, 640), 520), Intrinsics.from_fov((480, 640), 90)
    guess = Intrinsics.guessed((480, 640))
    (line,) = said_of(Counter([like]), training, rescaled=False)
    assert line == "camera: field of view 63.2 degrees (given): like that of the training, 63.2 to 65.2 degrees"
    (line,) = said_of(Counter([like, other]), training, rescaled=False)
    assert line.startswith(
        "camera: field of view 90.0 degrees (given): that of the training is 63.2 to 65.2 degrees, so"
    )
    assert line.endswith("so depths are too large: times 0.617 they are metres (--rescale-focal)")
    (line,) = said_of(Counter([other, Intrinsics.from_fov((480, 640), 40)]), training, rescaled=False)
    assert "90.0 degrees (given, and 1 other): that" in line
    assert "so depths are wrong: times 0.617 to 1.694 they" in line
    (line,) = said_of(Counter([like, other]), training, rescaled=True)
    assert line.endswith("so depths were multiplied by 0.617 to 1.002 (--rescale-focal)")
    (line,) = said_of(Counter([guess, guess]), None, rescaled=False, drawn=True)
    assert line == (
        "camera: not known of 2 images: depth is metres if its field of view is that of the training, which is not "
        "recorded; points are drawn for 60 degrees; say it by --fov-x or --fx"
    )
    (line,) = said_of(Counter([other]), None, rescaled=False)
    assert line.endswith("90.0 degrees (given): depth is metres if it is that of the training, which is not recorded")
    assert said_of(Counter([]), training, rescaled=False) == said_of(Counter([]), training, rescaled=True) == []


def test_the_command_says_the_camera_and_refuses_what_it_cannot_rescale(trained, spaceclip, one_line, tiny):
    Image.new("RGB", (40, 30)).save("a.png")
    common = ("predict", "a.png", "--checkpoint", "results/tiny", "--backbone", tiny, "--save", "ply")
    told = spaceclip(*common, "--out", "one").output.splitlines()
    assert told[0] == "results/tiny: trained on a folder of images with depth, 0.001 to 10 m"
    assert told[1].startswith("camera: not known of 1 image: depth is metres if")
    spaceclip(*common, "--out", "two", "--fx", "50", "--cy", "3")
    assert b"comment Camera: fx 50.0, 43.6 degrees across, given" in Path("two/a.ply").read_bytes()
    assert "does not say which camera its training images are of" in one_line(
        *common, "--out", "three", "--rescale-focal"
    )
    assert (
        "cx is 50, outside the image of 40 pixels"
        in spaceclip(*common, "--out", "four", "--fx", "9", "--cx", "50", code=3).output
    )
    assert "fx is -1" in one_line(*common, "--out", "five", "--fx", "-1")
    assert not Path("five").exists()
