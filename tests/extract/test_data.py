import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from spaceclip.cache import SpaceClipError
from spaceclip.extract import DataSettings, FolderData, KittiData, NyuData, SyntheticData, describe, open_splits
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


def test_settings_are_told_apart_by_their_kind():
    settings = TypeAdapter(DataSettings)
    assert isinstance(settings.validate_python({"kind": "kitti", "root": "k", "kb_crop": True}), KittiData)
    nyu = settings.validate_python({"kind": "nyu", "root": "n", "split": {"val": 0.1}})
    assert isinstance(nyu, NyuData)
    assert nyu.split == SplitSettings(by="scene", val=0.1, seed=20260926)
