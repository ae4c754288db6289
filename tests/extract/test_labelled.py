import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from spaceclip.cache import SpaceClipError
from spaceclip.extract import NyuData, describe, open_splits
from spaceclip.extract.sources.datasets import labelled


@pytest.fixture
def root(tmp_path):
    return tmp_path / "nyu"


@pytest.fixture
def arrays(made_up, root, monkeypatch):
    """A labelled file and its split, which counts as the official one."""
    made = made_up.labelled(root)
    monkeypatch.setattr(labelled, "SPLITS_SHA256", hashlib.sha256((root / "splits.mat").read_bytes()).hexdigest())
    return made


def data(root, **settings) -> NyuData:
    return NyuData.model_validate({"root": root, "train": "labelled", "test": "labelled", **settings})


def open_and_check(settings) -> None:
    for source in open_splits(settings).values():
        source.check()


def message(root, **settings) -> str:
    with pytest.raises(SpaceClipError) as caught:
        open_and_check(data(root, **settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("depth", "name"), [("inpainted", "depths"), ("raw", "rawDepths")])
def test_frames_are_read_upright_from_the_chosen_depth(root, arrays, depth, name):
    splits = open_splits(data(root, depth=depth))
    assert [entry.id for entry in splits["train"].entries] == [f"labelled/{frame:05d}" for frame in range(6)]
    assert [entry.id for entry in splits["test"].entries] == [f"labelled/{frame:05d}" for frame in range(6, 10)]
    for source, first in ((splits["train"], 0), (splits["test"], 6)):
        source.check()
        assert source.depth_unit == 0.001
        assert set(source.depth_sizes()) == {(12, 16)}
        for index in range(len(source.entries)):
            sample = source.load(index)
            np.testing.assert_array_equal(sample.image, arrays["images"][first + index])
            np.testing.assert_array_equal(sample.depth, arrays[name][first + index])
            assert sample.scene == str(arrays["scenes"][first + index])[:-1]


def test_what_depth_was_chosen_is_part_of_the_sample_and_said(root, arrays):
    painted, raw = data(root), data(root, depth="raw")
    first, second = (open_splits(settings) for settings in (painted, raw))
    assert first["train"].entries[0].stamp != second["train"].entries[0].stamp
    assert describe(painted, "test", first)["depth"] == "labelled, in-painted"
    about = describe(raw, "train", second)
    assert (about["depth"], about["list"], about["without_depth"]) == ("labelled, raw", "splits.mat", 0)


def test_many_threads_read_the_same(root, arrays):
    source = open_splits(data(root))["train"]
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(source.load, [index % 6 for index in range(48)]))
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(sample.image, arrays["images"][index % 6])


def test_scenes_are_held_out_of_the_training_frames(root, arrays):
    splits = open_splits(data(root, split={"val": 0.2}))
    scenes = {name: {entry.scene for entry in source.entries} for name, source in splits.items()}
    assert len(scenes["val"]) == 1
    assert not scenes["val"] & (scenes["train"] | scenes["test"])


def test_lists_may_train_and_the_labelled_file_test(made_up, root, arrays):
    made_up.nyu(root)
    splits = open_splits(data(root, train="lists"))
    assert [len(source.entries) for source in splits.values()] == [12, 4]


def test_a_file_that_is_cut_short_is_named(root, arrays):
    file = root / "nyu_depth_v2_labeled.mat"
    file.write_bytes(file.read_bytes()[:-1000])
    text = message(root)
    assert f"{file} is cut short at {file.stat().st_size:,} bytes; fetch" in text


def test_other_files_are_told_from_the_labelled_one(root, arrays):
    file = root / "nyu_depth_v2_labeled.mat"
    savemat(file, {"images": np.zeros(3)})
    assert "is no HDF5 file: expected MATLAB 7.3's" in message(root)
    file.write_bytes(b"")
    assert "(0 bytes) is no HDF5 file" in message(root)
    file.unlink()
    assert f"the labelled file {file} does not exist" in message(root)


def test_a_root_at_another_level_names_the_right_one(root, arrays, monkeypatch):
    (root / "sync").mkdir()
    for wrong in (root / "sync", root.parent):
        assert message(wrong) == (
            f"NYU Depth V2 root {wrong} holds no nyu_depth_v2_labeled.mat; this level looks right: {root}"
        )
    monkeypatch.chdir(root.parent)
    assert message(Path()).endswith(f"this level looks right: {root}")
    given = root.parent / "other.mat"
    assert f"the labelled file {given} does not exist" in message(root.parent, labelled=given)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rawDepths", None, "holds no rawDepths but depths, images, scenes"),
        ("images", None, "holds no images but depths, rawDepths, scenes"),
        ("images", np.zeros((10, 3, 12, 16), np.uint8), "found images [10, 3, 12, 16], rawDepths [10, 16, 12]"),
        ("rawDepths", np.zeros((9, 16, 12), np.float32), "expected [N, 3, W, H], [N, W, H] and [1, N]"),
        ("rawDepths", np.zeros((10, 16), np.float32), "rawDepths [10, 16]"),
        ("rawDepths", np.ones((10, 16, 12), np.uint16), "rawDepths uint16, expected uint8 and floats"),
        ("scenes", np.ones((1, 10)), "scenes are float64, expected references to 10 names"),
        ("rawDepths", np.zeros((10, 16, 12), np.float32), "no measured depth, every value is 0"),
        ("rawDepths", np.full((10, 16, 12), np.nan, np.float32), "192 values are negative, NaN or infinite"),
        ("rawDepths", np.full((10, 16, 12), 2500, np.float32), "found median depth 2500.00 m"),
    ],
)
def test_other_arrays_than_the_released_are_refused(root, arrays, name, value, words):
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
    assert words in message(root, depth="raw")


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ([1, 2, 11, 12], [3], "2 values of trainNdxs out of range: 11, 12; expected 1 to 10"),
        ([0, 1], [3], "out of range: 0"),
        ([1, 2], [2, 3], "1 frame both in trainNdxs and in testNdxs: 2;"),
        ([1, 1, 2], [3], "trainNdxs names 1 frame more than once"),
        ([1.5], [3], "expected whole numbers"),
        ([], [3], "of 0 values"),
        ([1], None, "holds no testNdxs but trainNdxs"),
        ([1], [4], "more than one split: kitchen_0000"),
    ],
)
def test_a_split_that_cannot_be_is_refused(root, arrays, train, test, words):
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
        name = file["#refs#/0"]
        del file["scenes"]
        file["scenes"] = np.full((1, 10), name.ref, h5py.ref_dtype)  # all frames are of one scene
    content = {"trainNdxs": train} | ({} if test is None else {"testNdxs": test})
    savemat(root / "splits.mat", content)
    assert words in message(root)


def test_a_split_file_that_cannot_be_read_is_named(root, arrays):
    file = root / "splits.mat"
    file.write_bytes(file.read_bytes()[:150])
    assert f"{file} cannot be read as a MATLAB file" in message(root)
    file.write_text("no such thing")
    assert f"{file} cannot be read as a MATLAB file" in message(root)
    file.unlink()
    assert f"the split file {file} does not exist" in message(root)


def test_a_split_file_that_crashes_its_reader_costs_no_more_than_a_line(root, arrays):
    file = root / "splits.mat"
    columns = {
        "trainNdxs": np.arange(1, 7, dtype=np.uint8)[:, None],
        "testNdxs": np.arange(7, 11, dtype=np.uint8)[:, None],
    }
    savemat(file, columns)
    content = bytearray(file.read_bytes())
    content[192] = 50  # the type of an array's values, with which SciPy reads where nothing is
    file.write_bytes(content)
    assert f"{file} cannot be read as a MATLAB file (" in message(root)


def test_the_official_split_file_is_known_by_its_hash_and_read_at_once(root, arrays, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    assert [len(source.entries) for source in open_splits(data(root)).values()] == [6, 4]


def test_a_split_file_of_gigabytes_is_not_read_into_memory(root, arrays):
    with (root / "splits.mat").open("r+b") as file:
        file.truncate(10**10)
    assert "(10,000,000,000 bytes, expected a few thousand)" in message(root)
