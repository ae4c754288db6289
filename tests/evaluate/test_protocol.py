from typing import Any

import pytest
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import EvaluateSettings, Protocol, scored_split

BY_SCENE = {"data": "folder", "split_by": "scene"}


def test_bounds_left_out_are_the_checkpoints():
    protocol = EvaluateSettings(max_depth=8.0).protocol("controlled", {}, min_depth=0.001, max_depth=10.0)
    assert (protocol.min_depth, protocol.max_depth) == (0.001, 8.0)


def test_the_label_says_everything():
    settings = EvaluateSettings(crop="garg")
    assert settings.protocol("controlled", BY_SCENE, 0.001, 80).label == (
        "controlled protocol: garg crop, 0.001 to 80 m, native size, with flip averaging, no median scaling"
    )
    other = EvaluateSettings(flip_average=False).protocol("controlled", {}, 0.5, 10)
    assert other.model_copy(update={"median_scaling": True}).label == (
        "custom protocol: no crop, 0.5 to 10 m, native size, no flip averaging, WITH median scaling"
    )
    assert other.model_copy(update={"flip_average": None}).label.endswith("flip averaging not known, no median scaling")


@pytest.mark.parametrize(
    ("name", "data", "setting"),
    [
        ("standard", "kitti", "standard protocol: garg crop, 0.001 to 80 m, native size"),
        ("standard", "nyu", "standard protocol: nyu_eigen crop, 0.001 to 10 m, native size"),
        ("paper", "kitti", "paper protocol: kitti_eigen crop, 0.001 to 80 m, truth at 352 x 704"),
        ("paper", "nyu", "paper protocol: no crop, 0.001 to 10 m, native size"),
        ("controlled", "nyu", "controlled protocol: nyu_eigen crop, 0.001 to 10 m, native size"),
        ("controlled", "kitti", "controlled protocol: garg crop, 0.001 to 80 m, native size"),
    ],
)
def test_published_protocols_are_fixed_whatever_the_settings_say(name, data, setting):
    settings = EvaluateSettings(crop="garg", min_depth=1, max_depth=5)
    assert settings.protocol(name, {"data": data}, 0.1, 7).setting == setting


def test_a_published_protocol_of_another_data_set_is_refused():
    with pytest.raises(SpaceClipError, match=r"the paper protocol is defined for kitti and nyu, .* of 'synthetic'"):
        EvaluateSettings().protocol("paper", {"data": "synthetic"}, 0.001, 80)


@pytest.mark.parametrize("split", ["train", "val", "all"])
@pytest.mark.parametrize("name", ["standard", "controlled", "paper"])
def test_published_protocols_score_the_test_set_alone(name, split):
    with pytest.raises(SpaceClipError, match=f"{name} protocol scores the test split, .* are the {split} split"):
        EvaluateSettings().protocol(name, {"data": "nyu", "split": split}, 0.001, 80)


@pytest.mark.parametrize(("split", "name"), [("val", "custom"), ("test", "controlled"), ("train", "custom")])
def test_rows_that_were_not_held_out_for_testing_are_never_controlled(split, name):
    about = {"data": "folder", "split": split, "split_by": "scene"}
    assert EvaluateSettings().protocol("controlled", about, 0.001, 80).name == name


@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("test", "custom"), ("train", "custom")])
@pytest.mark.parametrize("data", ["nyu", "kitti", "folder"])
def test_validation_is_of_held_out_rows_under_the_settings(data, split, name):
    about = {"data": data, "split": split, "split_by": "scene"}
    found = EvaluateSettings(crop="nyu_eigen", max_depth=8).protocol("validation", about, 0.001, 80)
    assert (found.name, found.crop, found.max_depth) == (name, "nyu_eigen", 8)


def test_cut_frames_and_the_choice_of_depth_are_named():
    cut = EvaluateSettings().protocol("standard", {"data": "kitti", "kb_crop": True}, 0.001, 80)
    assert cut.setting == "standard protocol: frames KB-cropped to 352 x 1216, garg crop, 0.001 to 80 m, native size"
    raw = EvaluateSettings().protocol("paper", {"data": "nyu", "depth": "labelled, raw"}, 0.001, 80)
    assert raw.setting == "paper protocol: no crop, 0.001 to 10 m, native size, depth: labelled, raw"


def test_a_protocol_named_twice_is_scored_once():
    assert EvaluateSettings(protocols=("paper", "standard", "paper")).protocols == ("paper", "standard")


def test_both_ways_of_flipping_are_scored_and_scaling_only_on_request():
    protocol = EvaluateSettings().protocol("controlled", BY_SCENE, 0.001, 80)
    assert [found.key for found in EvaluateSettings().variants(protocol)] == ["controlled", "controlled_plain"]
    plain = EvaluateSettings(flip_average=False)
    assert [found.key for found in plain.variants(plain.protocol("controlled", {}, 0.001, 80))] == ["custom_plain"]
    assert [found.key for found in EvaluateSettings(median_scaling=True).variants(protocol)] == [
        "controlled",
        "controlled_plain",
        "controlled_median",
        "controlled_plain_median",
    ]


@pytest.mark.parametrize(
    ("name", "scored"), [("controlled", "test"), ("standard", "test"), ("paper", "test"), ("validation", "val")]
)
def test_a_protocol_scores_its_own_split_or_is_refused(name, scored):
    splits: dict[str, Any] = {"val": None, "test": None}
    assert scored_split(name, splits) == scored
    del splits[scored]
    with pytest.raises(SpaceClipError, match=f"the {name} protocol scores the {scored} split, these features have"):
        scored_split(name, splits)


def test_an_empty_range_is_refused():
    with pytest.raises(SpaceClipError, match="the depth range is 12 to 10 m, expected min_depth < max_depth"):
        EvaluateSettings(min_depth=12).protocol("controlled", {}, 0.001, 10)


def test_an_unknown_crop_is_refused_when_the_settings_are_read():
    with pytest.raises(ValidationError, match="did you mean nyu_eigen"):
        EvaluateSettings(crop="nyu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"crops": "none"},
        {"min_depth": 0},
        {"batch_size": 0},
        {"figures": -1},
        {"max_depth": "far"},
        {"protocols": []},
        {"protocols": ["field"]},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluateSettings(**wrong)


def test_a_protocol_survives_json_and_cannot_be_altered(protocol):
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
    with pytest.raises(ValidationError):
        protocol.crop = "garg"
