import pytest
from spaceclip.cache import StoreError, require_disjoint


class Store:
    """What the check asks of a store: one sample of each scene, unless they are given, all of other pictures."""

    def __init__(self, scenes, split_by: str | None = "scene", ids=None, pictures=None):
        self.about, self.path = {"split_by": split_by}, f"{''.join(map(str, scenes))}.zarr"
        self.sample_ids = ids or [f"{scene}/0" for scene in scenes]
        self.content_hashes = pictures or [f"{id(self)} {number}" for number, _ in enumerate(scenes)]
        self.scenes, self.stores = list(scenes), [self]


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
    check(train=Store([None], ids=["1"]), val=Store([None], ids=["2"]))


def test_a_division_by_sample_may_share_scenes_but_no_sample():
    one = Store("ab", "ratio")
    check(train=one, val=Store("ab", "ratio", ids=["a/1", "b/1"]))
    with pytest.raises(StoreError, match=r"share 1 sample \(b/0\).*extract all splits anew"):
        check(train=one, val=Store("ab", "ratio", ids=["a/1", "b/0"]))


def test_stores_divided_by_scene_share_none_beside_another_that_was_divided_by_sample():
    train, val = Store("xab"), Store("yab")
    for split, scenes in ((train, "cd"), (val, "ed")):
        split.stores = [Store("k", "ratio", ids=[f"{id(split)}"]), Store(scenes)]
    with pytest.raises(StoreError, match=r"cd\.zarr \(train\) and ed\.zarr \(val\) share 1 scene \(d\)"):
        check(train=train, val=val)


def test_a_sample_mended_between_two_divisions_is_still_one():
    with pytest.raises(StoreError, match="share 1 sample "):
        check(train=Store("a", "ratio"), val=Store("a", "ratio", pictures=["mended"]))


@pytest.mark.parametrize("split_by", ["scene", "ratio", None])
def test_files_that_lie_apart_may_be_named_alike(split_by):
    check(train=Store([None], split_by, ids=["0001"]), test=Store([None], None, ids=["0001"]))


@pytest.mark.parametrize("split_by", ["scene", "ratio", None])
def test_a_picture_under_another_name_and_scene_is_found(split_by):
    train = Store("ab", split_by, ids=["a/0", "b/7"], pictures=["1", "2"])
    with pytest.raises(
        StoreError,
        match=r"\(train\) and .* \(test\) share 2 pictures \(b/7, copy = b/7\): .*; leave one of each pair out",
    ):
        check(train=train, test=Store("cd", None, ids=["copy", "b/7"], pictures=["2", "2"]))
    with pytest.raises(StoreError, match=r"share 1 picture \(copy = a/0\)"):
        check(train=train, test=Store("c", None, ids=["copy"], pictures=["1"]))


def test_quarantined_samples_have_no_picture_in_common():
    check(train=Store("a", pictures=[""]), test=Store("b", pictures=[""]))
