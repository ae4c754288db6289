"""Whether it is metres: cameras from lists to stores, checkpoints and predictions."""

import json
import math
from collections import Counter
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


def test_depth_is_rescaled_only_where_asked(model):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    camera = CameraChoice(fx=60)
    plain, rescaled = model.predict(image, camera=camera), model.predict(image, camera=camera, rescale_focal=True)
    np.testing.assert_allclose(rescaled.depth, plain.depth * 1.5, rtol=1e-5)
    assert rescaled.depth_range[1] == pytest.approx(1.5 * plain.depth_range[1])
    assert rescaled.facts["Focal-Rescaled"] == "times 1.5000"
    assert "Focal-Rescaled" not in plain.facts
    with pytest.raises(SpaceClipError, match="its camera is not known"):
        model.predict(image, rescale_focal=True)


def test_the_lens_is_that_of_the_exif_data(model, tmp_path):
    for name in ("a.jpg", "a.webp", "a.png"):
        with_exif(Image.new("RGB", (40, 30)), 26, tmp_path / name)
        found = model.predict(tmp_path / name)
        assert found.depth.shape == (40, 30)  # turned
        # The diagonal of 36 x 24 mm is 43.27 mm, that of the image 50 pixels.
        assert found.camera.fx == pytest.approx(26 / 43.2666 * 50, rel=1e-4)
        assert "by its EXIF data (26 mm on 35 mm film)" in str(found.camera)
    with_exif(Image.new("RGB", (40, 30)), 0, tmp_path / "b.jpg")
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
        ({"cx": 5}, "--cx is given without --fx"),
    ],
)
def test_impossible_cameras_are_refused_at_once(options, said):
    with pytest.raises(SpaceClipError, match=said):
        CameraChoice(**options)


def test_what_is_said_of_cameras():
    training = TrainingCamera(FACTS)
    like, other = Intrinsics.centred((480, 640), 520), Intrinsics.of_field((480, 640), 90)
    guess = Intrinsics.guessed((480, 640))
    (line,) = said_of(Counter([like]), training, rescaled=False)
    assert line.endswith("like that of the training: fx 519 (500 to 520) at 480 x 640, 63.3 degrees across")
    (line,) = said_of(Counter([like, other]), training, rescaled=False)
    assert "fx 320.0, 90.0 degrees across, given" in line
    assert line.endswith("depth is wrong by a factor of 0.617 (--rescale-focal multiplies by it)")
    (line,) = said_of(Counter([like, other]), training, rescaled=True)
    assert line.endswith("depth was multiplied by 0.617 to 1.002 (--rescale-focal)")
    (line,) = said_of(Counter([guess, guess]), None, rescaled=False)
    assert line.startswith("camera: not known of 2 images, 60 degrees across guessed for points; give --fx or --fov-x")
    assert line.endswith("not recorded")
    (line,) = said_of(Counter([other]), None, rescaled=False)
    assert "whether this is metres is not known" in line
    assert said_of(Counter([]), training, rescaled=False) == said_of(Counter([]), training, rescaled=True) == []


def test_the_command_says_the_camera_and_refuses_what_it_cannot_rescale(trained, spaceclip, one_line, tiny):
    Image.new("RGB", (40, 30)).save("a.png")
    common = ("predict", "a.png", "--checkpoint", "results/tiny", "--backbone", tiny, "--save", "ply")
    told = spaceclip(*common, "--out", "one").output.splitlines()
    assert told[0].startswith("camera: not known of 1 image, 60 degrees across guessed")
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
