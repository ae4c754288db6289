import pytest
from spaceclip.cache import Entry, StoreError, require_disjoint


class Store:
    """What the check asks of a store: one sample of each scene, unless they are given; the n-th has n times a stamp."""

    def __init__(self, scenes, split_by: str | None = "scene", ids=None, stamp="1", alike=False):
        self.about, self.path = {"split_by": split_by}, f"{''.join(map(str, scenes))}.zarr"
        self.sample_ids = ids or [f"{scene}/0" for scene in scenes]
        stamps = [stamp if alike else stamp * number for number, _ in enumerate(scenes, 1)]
        self.entries = [Entry(*fields) for fields in zip(self.sample_ids, scenes, stamps, strict=True)]
        self.scenes = list(scenes)


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
    with pytest.raises(StoreError, match=r"share 1 samples \(b/0\)"):
        check(train=one, val=Store("ab", "ratio", ids=["a/1", "b/0"]))


def test_a_sample_mended_between_two_divisions_is_still_one():
    with pytest.raises(StoreError, match="share 1 samples"):
        check(train=Store("a", "ratio"), val=Store("a", "ratio", stamp="2"))


@pytest.mark.parametrize("split_by", ["scene", None])
def test_a_sample_under_another_scene_is_found_by_its_name(split_by):
    with pytest.raises(StoreError, match=r"\(train\) and .* \(test\) share 1 samples \(b/7\)"):
        check(train=Store("ab", split_by, ids=["a/0", "b/7"]), test=Store("c", None, ids=["b/7"], stamp="11"))


@pytest.mark.parametrize("split_by", ["scene", "ratio", None])
def test_files_that_lie_apart_may_be_named_alike(split_by):
    check(train=Store([None], split_by, ids=["0001"], stamp="100"), test=Store([None], None, ids=["0001"], stamp="99"))


def test_files_of_one_size_all_of_them_are_not_taken_for_the_same_by_their_names():
    train, test = (Store([scene, scene], ids=["0001", "0002"], alike=True) for scene in "ab")
    check(train=train, test=test)
