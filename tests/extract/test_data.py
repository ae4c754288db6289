import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from spaceclip.cache import SpaceClipError
from spaceclip.extract import SPLITS, DataSettings, FolderData, KittiData, NyuData, SyntheticData, describe, open_splits
from spaceclip.extract.sources.splits import SplitSettings


@pytest.fixture
def pictures(tmp_path):
    def make(name, scenes):
        for scene in scenes:
            folder = tmp_path / name / scene
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / f"{number}.png")
        return tmp_path / name

    return make


def _ids(splits):
    return {name: [entry.id for entry in source.entries] for name, source in splits.items()}


def test_without_shares_there_is_one_split(pictures):
    splits = open_splits(FolderData(images=pictures("all", "abc")))
    assert _ids(splits) == {"train": ["a/0", "a/1", "b/0", "b/1", "c/0", "c/1"]}


def test_whole_scenes_are_held_out_and_load_as_the_whole_does(pictures):
    data = FolderData.model_validate({"images": pictures("all", "abcdefgh"), "split": {"val": 0.25, "test": 0.25}})
    splits = open_splits(data)
    assert [len(source.entries) for source in splits.values()] == [8, 4, 4]
    for source in splits.values():
        assert [source.load(index).id for index in range(len(source.entries))] == [entry.id for entry in source.entries]


def test_a_test_set_may_lie_elsewhere(pictures):
    data = FolderData.model_validate(
        {"images": pictures("mine", "abcd"), "split": {"val": 0.25}, "test": {"images": pictures("theirs", "xy")}}
    )
    assert _ids(open_splits(data))["test"] == ["x/0", "x/1", "y/0", "y/1"]


def test_a_scene_of_the_training_set_in_the_test_set_is_refused(pictures):
    data = FolderData.model_validate({"images": pictures("mine", "abcd"), "test": {"images": pictures("theirs", "dx")}})
    with pytest.raises(SpaceClipError, match="1 scene in more than one split: d"):
        open_splits(data)


def test_a_test_set_given_twice_is_refused(pictures):
    data = FolderData.model_validate(
        {"images": pictures("mine", "abcd"), "split": {"test": 0.25}, "test": {"images": pictures("theirs", "xy")}}
    )
    with pytest.raises(SpaceClipError, match=r"test is given as files of its own and held out by data\.split too"):
        open_splits(data)


def test_the_embedded_scenes_are_divided_by_scene():
    splits = open_splits(SyntheticData(scenes=16, views_per_scene=3))
    assert {name: len(source.entries) for name, source in splits.items()} == {"train": 30, "val": 6, "test": 12}
    scenes = [{entry.scene for entry in source.entries} for source in splits.values()]
    assert sum(map(len, scenes)) == len(set.union(*scenes)) == 16


def test_a_split_says_how_it_came_to_be(pictures):
    data = FolderData.model_validate(
        {"images": pictures("mine", "abcd"), "split": {"val": 0.25}, "test": {"images": pictures("theirs", "xy")}}
    )
    splits = open_splits(data)
    assert {name: describe(data, name, splits)["split_by"] for name in splits} == {
        "train": "scene",
        "val": "scene",
        "test": None,
    }
    alone = FolderData(images=data.images)
    assert describe(alone, "all", {"all": open_splits(alone)["train"]}) == {
        "data": "folder",
        "split": "all",
        "split_by": None,
    }


@pytest.fixture
def listed(pictures, tmp_path):
    """Three scenes and a list that says which split each picture is of."""
    images = pictures("mine", "abc")
    rows = [f"{scene}/{number}.png,{split}" for scene, split in zip("abc", SPLITS, strict=True) for number in range(2)]
    (tmp_path / "list.csv").write_text("\n".join(["image,split", *rows]))
    return {"images": images, "manifest": tmp_path / "list.csv"}


def test_a_list_s_split_column_counts_unless_something_else_is_said(listed):
    data = FolderData.model_validate(listed)
    splits = open_splits(data)
    assert _ids(splits) == {"train": ["a/0", "a/1"], "val": ["b/0", "b/1"], "test": ["c/0", "c/1"]}
    assert {describe(data, name, splits)["split_by"] for name in splits} == {"column"}
    assert splits["val"].check() == [
        "divided by the list's split column; to divide otherwise, set split by (--split-by)"
    ]
    told = open_splits(FolderData.model_validate(listed | {"split": {"by": "column"}}))
    assert (_ids(told), told["val"].check()) == (_ids(splits), [])
    assert list(open_splits(FolderData.model_validate(listed | {"split": {"by": "scene"}}))) == ["train"]


def test_a_split_column_and_shares_are_asked_about(listed):
    with pytest.raises(SpaceClipError, match=r"^the list has a split column, and shares are set too \(val, test\): "):
        open_splits(FolderData.model_validate(listed | {"split": {"val": 0.3}}))
    shares = {"split": {"val": 0.3, "by": "scene"}}
    assert list(open_splits(FolderData.model_validate(listed | shares))) == ["train", "val"]


def test_settings_are_told_apart_by_their_kind():
    settings = TypeAdapter(DataSettings)
    assert isinstance(settings.validate_python({"kind": "kitti", "root": "k", "kb_crop": True}), KittiData)
    nyu = settings.validate_python({"kind": "nyu", "root": "n", "split": {"val": 0.1}})
    assert isinstance(nyu, NyuData)
    assert nyu.split == SplitSettings(by="scene", val=0.1, seed=20260926)
