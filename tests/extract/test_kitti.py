from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.extract import KittiData, describe, open_splits

REAL = Path("data/kitti")
DRIVE = "2011_09_26_drive_{}_sync"


@pytest.fixture
def root(made_up, tmp_path):
    return made_up.kitti(tmp_path / "kitti")


def data(root, **settings) -> KittiData:
    return KittiData.model_validate({"root": root, **settings})


def test_ids_scenes_and_unit_follow_the_lists(root):
    splits = open_splits(data(root))
    assert list(splits) == ["train", "test"]
    train, test = splits["train"], splits["test"]
    assert [entry.id for entry in train.entries][2] == f"2011_09_26/{DRIVE.format('0009')}/image_02/data/0000000000"
    assert [entry.scene for entry in train.entries] == [DRIVE.format("0001")] * 2 + [DRIVE.format("0009")] * 2
    assert train.depth_unit == test.depth_unit == 1 / 256
    assert train.depth_sizes() == [(375, 1242)] * 2 + [(370, 1226)] * 2
    assert test.depth_sizes() == [(375, 1242), None]
    for source in splits.values():
        source.check()


def test_depth_is_counts_over_256_and_0_is_not_measured(root):
    sample = open_splits(data(root))["train"].load(0)
    counts = np.array(Image.open(root / f"train/{DRIVE.format('0001')}/proj_depth/groundtruth/image_02/0000000000.png"))
    assert sample.depth is not None
    np.testing.assert_array_equal(sample.depth, (counts.astype(np.float64) / 256).astype(np.float32))
    assert (sample.depth[:37] == 0).all()
    assert sample.image.size == (1242, 375)


def test_frames_without_ground_truth_are_kept_and_counted(root):
    settings = data(root)
    splits = open_splits(settings)
    sample = splits["test"].load(1)
    assert sample.depth is None
    assert sample.image.size == (1242, 375)
    assert describe(settings, "test", splits)["without_depth"] == 1
    assert describe(settings, "train", splits)["without_depth"] == 0


def test_the_kb_crop_cuts_image_and_depth_of_both_sizes_alike(root):
    plain, cropped = open_splits(data(root))["train"], open_splits(data(root, kb_crop=True))["train"]
    cropped.check()
    assert cropped.depth_sizes() == [(352, 1216)] * 4
    for index, (top, left) in ((0, (23, 13)), (2, (18, 5))):  # 375 x 1242 and 370 x 1226
        whole, part = plain.load(index), cropped.load(index)
        assert whole.depth is not None
        assert part.depth is not None
        np.testing.assert_array_equal(part.image, np.asarray(whole.image)[top : top + 352, left : left + 1216])
        np.testing.assert_array_equal(part.depth, whole.depth[top : top + 352, left : left + 1216])


def test_the_crop_is_part_of_what_a_sample_is(root):
    plain, cropped = (open_splits(data(root, kb_crop=crop))["train"].entries for crop in (False, True))
    assert [entry.id for entry in plain] == [entry.id for entry in cropped]
    assert all(one.stamp != other.stamp for one, other in zip(plain, cropped, strict=True))


def test_an_image_smaller_than_the_crop_is_refused(root):
    image = root / f"2011_09_26/{DRIVE.format('0001')}/image_02/data/0000000000.png"
    Image.open(image).resize((1000, 300)).save(image)
    depth = root / f"train/{DRIVE.format('0001')}/proj_depth/groundtruth/image_02/0000000000.png"
    Image.fromarray(np.full((300, 1000), 2560, np.uint16)).save(depth)
    source = open_splits(data(root, kb_crop=True))["train"]
    expected = r"1 image smaller than the crop of 352 x 1216 \(height x width\): .*0000000000.png 300 x 1000; turn"
    with pytest.raises(SpaceClipError, match=expected):
        source.check()
    with pytest.raises(SpaceClipError, match=expected):
        source.load(0)


def test_files_may_lie_in_the_official_folders(root):
    (root / "raw").mkdir()
    (root / "2011_09_26").rename(root / "raw/2011_09_26")
    (root / "data_depth_annotated").mkdir()
    for folder in ("train", "val"):
        (root / folder).rename(root / "data_depth_annotated" / folder)
    splits = open_splits(data(root))
    assert [len(source.entries) for source in splits.values()] == [4, 2]
    for source in splits.values():
        source.check()


def test_depth_may_lie_at_the_root_itself(root):
    for drive in (root / "train", root / "val"):
        for found in drive.iterdir():
            found.rename(root / found.name)
    assert open_splits(data(root))["test"].depth_sizes() == [(375, 1242), None]


def test_whole_drives_are_held_out_and_described(root):
    settings = data(root, split={"val": 0.5})
    splits = open_splits(settings)
    assert {name: len(source.entries) for name, source in splits.items()} == {"train": 2, "val": 2, "test": 2}
    assert describe(settings, "val", splits)["split_by"] == describe(settings, "train", splits)["split_by"] == "scene"
    about = describe(settings, "test", splits)
    assert about.pop("list_sha256") != describe(settings, "train", splits)["list_sha256"]
    assert about == {
        "data": "kitti",
        "split": "test",
        "split_by": None,
        "list": "kitti_eigen_test_files_with_gt.txt",
        "kb_crop": False,
        "without_depth": 1,
        "camera": {"focal": [721.5377] * 3, "size": [375, 1242], "images": 1},
    }


def test_without_a_test_list_there_is_no_test_split(root):
    (root / "kitti_eigen_test_files_with_gt.txt").unlink()
    assert list(open_splits(data(root))) == ["train"]
    with pytest.raises(SpaceClipError, match=r"the list .*mine.txt does not exist"):
        open_splits(data(root, test_list=root / "mine.txt"))


def test_lists_are_taken_by_their_other_usual_name_or_as_given(root, tmp_path):
    (root / "kitti_eigen_train_files_with_gt.txt").rename(root / "train_files_with_gt.txt")
    (root / "kitti_eigen_test_files_with_gt.txt").rename(tmp_path / "mine.txt")
    assert list(open_splits(data(root))) == ["train"]
    assert list(open_splits(data(root, test_list=tmp_path / "mine.txt"))) == ["train", "test"]


def test_drives_are_never_divided(root):
    with pytest.raises(ValidationError, match=r"both sides: divide by scenes \(by: scene\)"):
        data(root, split={"by": "ratio", "val": 0.5})


@pytest.mark.skipif(not REAL.is_dir(), reason="no real frames here")
def test_real_frames_are_read_whole():
    splits = open_splits(data(REAL))
    assert {name: len(source.entries) for name, source in splits.items()} == {"train": 16, "test": 6}
    for source in splits.values():
        source.check()
    depth = splits["train"].load(0).depth
    assert depth is not None
    assert depth.shape == (375, 1242)
    assert 0.02 < (depth > 0).mean() < 0.2
    open_splits(data(REAL, kb_crop=True))["train"].check()
