import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.extract import NyuData, describe, open_splits

REAL = Path("data/nyu")


@pytest.fixture
def root(made_up, tmp_path):
    return made_up.nyu(tmp_path / "nyu")


def data(root, **settings) -> NyuData:
    return NyuData.model_validate({"root": root, **settings})


def test_takes_of_one_room_are_one_scene(root):
    splits = open_splits(data(root))
    train, test = splits["train"], splits["test"]
    scenes = [entry.scene for entry in train.entries]
    assert scenes[::2] == ["kitchen_0001", "kitchen_0001", "office_0002", "bath_0003", "bath_0003", "den_0004"]
    assert [entry.id for entry in train.entries][:3] == [
        "kitchen_0001a/rgb_00000",
        "kitchen_0001a/rgb_00001",
        "kitchen_0001b/rgb_00000",
    ]
    assert {entry.scene for entry in test.entries} == {"kitchen"}
    assert train.depth_unit == test.depth_unit == 0.001
    for source in splits.values():
        source.check()


def test_depth_is_millimetres(root):
    depth = open_splits(data(root))["test"].load(1).depth
    counts = np.array(Image.open(root / "test/kitchen/sync_depth_00001.png"))
    assert depth is not None
    np.testing.assert_array_equal(depth, (counts.astype(np.float64) / 1000).astype(np.float32))


def test_the_test_frames_may_lie_in_the_official_folder(root):
    (root / "official_splits").mkdir()
    (root / "test").rename(root / "official_splits/test")
    open_splits(data(root))["test"].check()


def test_the_default_validation_is_the_published_algorithm(root):
    splits = open_splits(data(root, split={"val": 0.3}))
    groups = ["bath_0003", "den_0004", "kitchen_0001", "office_0002"]
    random.Random(20260926).shuffle(groups)
    assert {entry.scene for entry in splits["val"].entries} == {groups[0]}
    assert {entry.scene for entry in splits["train"].entries} == set(groups[1:])


def test_splits_say_where_they_are_from(root):
    settings = data(root)
    splits = open_splits(settings)
    about = describe(settings, "train", splits)
    assert about["list"] == "nyudepthv2_train_files_with_gt.txt"
    assert about["split_by"] is None
    assert about["depth"] == "listed files"
    assert len(about["list_sha256"]) == 64


def test_raw_depth_needs_the_labelled_file(root):
    with pytest.raises(ValidationError, match="raw is found in the labelled file alone"):
        data(root, depth="raw")


def test_frames_are_never_divided_within_a_scene(root):
    for by in ("ratio", "column"):
        with pytest.raises(ValidationError, match=r"both sides: divide by scenes \(by: scene\)"):
            data(root, split={"by": by})


def test_where_only_the_labelled_file_has_test_frames_it_is_named(root, made_up):
    made_up.labelled(root)
    (root / "test").rename(root / "away")
    with pytest.raises(SpaceClipError, match=r"or set test: labelled to take those of .*nyu_depth_v2_labeled.mat"):
        open_splits(data(root))


@pytest.mark.skipif(not REAL.is_dir(), reason="no real frames here")
def test_real_frames_are_read_whole():
    splits = open_splits(data(REAL, split={"val": 0.1}))
    assert {name: len(source.entries) for name, source in splits.items()} == {"train": 80, "val": 16, "test": 26}
    for source in splits.values():
        source.check()
        depth = source.load(0).depth
        assert depth is not None
        assert (depth > 0).all()
