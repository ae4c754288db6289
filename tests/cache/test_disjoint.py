import pytest
from spaceclip.cache import StoreError, require_disjoint


class Store:
    """What the check asks of a store."""

    def __init__(self, scenes, split_by: str | None = "scene"):
        self.about, self.scenes, self.path = {"split_by": split_by}, list(scenes), f"{''.join(map(str, scenes))}.zarr"
        self.sample_ids = [f"{scene}/0" for scene in scenes]


def check(**splits):
    require_disjoint(splits)


def test_splits_of_different_scenes_pass():
    check(train=Store("abc"), val=Store("de"), test=Store("f", None))


def test_shared_scenes_are_counted_and_named():
    with pytest.raises(
        StoreError, match=r"abcde\.zarr \(train\) and bcdex\.zarr \(test\) share 4 scenes \(b, c, d, \.\.\.\)"
    ):
        check(train=Store("abcde"), val=Store("y"), test=Store("bcdex"))


def test_samples_without_a_scene_are_no_common_scene():
    check(train=Store([None]), val=Store([None]))


def test_a_division_by_sample_may_share_scenes_but_no_sample():
    one, other = Store("ab", "ratio"), Store("ab", "ratio")
    other.sample_ids = ["a/1", "b/1"]
    check(train=one, val=other)
    other.sample_ids = ["a/1", "b/0"]
    with pytest.raises(StoreError, match=r"share 1 samples \(b/0\)"):
        check(train=one, val=other)
