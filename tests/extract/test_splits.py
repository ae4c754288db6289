import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.extract.sources.source import Entry
from spaceclip.extract.sources.splits import SplitSettings, assign, check_disjoint

SCENES = st.lists(st.integers(0, 30), min_size=1, max_size=80)


def entries_of(scenes) -> list[Entry]:
    return [
        Entry(f"sample{index}", None if scene is None else f"scene{scene}", "1") for index, scene in enumerate(scenes)
    ]


def message(function, *arguments) -> str:
    with pytest.raises(SpaceClipError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_controlled_split_is_the_published_algorithm():
    names = [f"{place}_{number:04d}" for place in ("bathroom", "cafe", "office") for number in range(83)]
    order = [name for name in names for _ in range(3)]
    random.Random(1).shuffle(order)
    entries = [Entry(f"{index}", name, "1") for index, name in enumerate(order)]

    groups = sorted(names)
    random.Random(20260926).shuffle(groups)
    held_out = set(groups[:25])  # round(10 % of 249)
    splits = assign(entries, SplitSettings(val=0.1, seed=20260926))

    assert splits["val"] == [index for index, name in enumerate(order) if name in held_out]
    assert splits["train"] == [index for index, name in enumerate(order) if name not in held_out]
    assert splits["test"] == []


def test_controlled_seed_holds_out_these_groups():
    entries = [Entry(letter, letter, "1") for letter in "abcdefghijklmnopqrst"]
    splits = assign(entries, SplitSettings(val=0.1, test=0.15, seed=20260926))
    assert {name: "".join(entries[i].id for i in splits[name]) for name in ("val", "test")} == {
        "val": "em",
        "test": "ino",
    }


@given(scenes=SCENES, val=st.floats(0, 0.45), test=st.floats(0, 0.45), seed=st.integers(0, 2**32))
def test_scenes_are_divided_whole_and_completely(scenes, val, test, seed):
    entries = entries_of(scenes)
    settings = SplitSettings(val=val, test=test, seed=seed)
    total = len(set(scenes))
    wanted = {"val": max(1, round(val * total)) if val else 0, "test": max(1, round(test * total)) if test else 0}
    if total <= sum(wanted.values()) and sum(wanted.values()):
        assert "cannot be divided" in message(assign, entries, settings)
        return
    splits = assign(entries, settings)
    assert list(splits) == ["train", "val", "test"]
    assert sorted(index for indices in splits.values() for index in indices) == list(range(len(entries)))
    assert all(indices == sorted(indices) for indices in splits.values())
    for name, number in wanted.items():
        assert len({entries[index].scene for index in splits[name]}) == number
    check_disjoint({name: [entries[index] for index in indices] for name, indices in splits.items()})
    assert assign(entries, settings) == splits


@given(order=st.permutations(range(12)), by=st.sampled_from(["scene", "ratio"]))
def test_division_does_not_depend_on_the_order_of_the_list(order, by):
    settings = SplitSettings(by=by, val=0.25, test=0.25)
    entries = entries_of([index // 2 for index in range(12)])
    shuffled = [entries[index] for index in order]
    plain, other = assign(entries, settings), assign(shuffled, settings)
    for name in plain:
        assert {entries[index].id for index in plain[name]} == {shuffled[index].id for index in other[name]}


def test_another_seed_divides_otherwise():
    entries = entries_of(range(40))
    divisions = {tuple(assign(entries, SplitSettings(val=0.5, seed=seed))["val"]) for seed in range(5)}
    assert len(divisions) == 5


@given(total=st.integers(2, 200), val=st.floats(0.01, 0.4))
def test_ratio_divides_samples_whatever_their_scene(total, val):
    entries = [Entry(f"{index}", None, "1") for index in range(total)]
    splits = assign(entries, SplitSettings(by="ratio", val=val))
    assert len(splits["val"]) == max(1, round(val * total))
    assert len(splits["val"]) + len(splits["train"]) == total


def test_without_shares_everything_trains_and_no_scene_is_needed():
    assert assign(entries_of([None, None]), SplitSettings()) == {"train": [0, 1], "val": [], "test": []}


def test_column_names_the_splits():
    splits = assign(entries_of([1, 1, 2, 3]), SplitSettings(by="column"), ["val", "train", "test", "train"])
    assert splits == {"train": [1, 3], "val": [0], "test": [2]}


def test_column_that_is_missing_or_wrong_is_refused():
    settings, entries = SplitSettings(by="column"), entries_of([1, 1, 2, 3, 4])
    assert "needs a list with a split column" in message(assign, entries, settings)
    assert "needs a list with a split column" in message(assign, entries, settings, [None] * 5)
    text = message(assign, entries, settings, ["val", "valid", None, "Train", "x"])
    assert "4 samples of 5 in no known split: sample1 (valid), sample2 (None), sample3 (Train) and 1 more" in text
    assert "expected train, val, test" in text


def test_samples_without_a_scene_are_counted():
    text = message(assign, entries_of([1, None, None, None, None]), SplitSettings(val=0.2))
    assert "4 samples of 5 without a scene: sample1, sample2, sample3 and 1 more" in text
    assert text.endswith("or divide by samples (data.split.by: ratio)")


def test_too_few_scenes_or_samples_are_refused():
    text = message(assign, entries_of([1, 1, 2, 2]), SplitSettings(val=0.1, test=0.1))
    assert "2 scenes cannot be divided into 1 for val, 1 for test" in text
    assert text.endswith("or divide by samples (data.split.by: ratio)")
    text = message(assign, entries_of([1]), SplitSettings(by="ratio", val=0.1))
    assert text.startswith("1 sample cannot be divided")
    assert "by: ratio" not in text


@pytest.mark.parametrize(
    "bad", [{"val": 1}, {"val": -0.1}, {"val": 0.5, "test": 0.5}, {"by": "column", "val": 0.1}, {"by": "place"}]
)
def test_settings_refuse_impossible_shares(bad):
    with pytest.raises(ValidationError):
        SplitSettings(**bad)


def test_shared_ids_and_scenes_are_counted_and_named():
    train, val = entries_of([1, 1, 2, 3, 4, 5]), entries_of([9, 9])
    assert "2 ids in more than one split: sample0 (in train and val), sample1 (in train and val)" in message(
        check_disjoint, {"train": train, "val": val}
    )
    other = [Entry(f"other{scene}", f"scene{scene}", "1") for scene in (2, 3, 4, 5, 8)]
    text = message(check_disjoint, {"train": train, "test": other})
    assert "4 scenes in more than one split: scene2 (in train and test)" in text
    assert text.count("(in ") == 3
    assert "and 1 more" in text


def test_samples_without_a_scene_share_none():
    check_disjoint({"train": [Entry("a", None, "1")], "val": [Entry("b", None, "1")], "test": []})
