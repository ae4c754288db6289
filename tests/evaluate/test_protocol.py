import pytest
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import EvaluateSettings, Protocol


def test_bounds_left_out_are_the_checkpoints():
    protocol = EvaluateSettings(max_depth=8.0).protocol("custom", min_depth=0.001, max_depth=10.0)
    assert (protocol.min_depth, protocol.max_depth) == (0.001, 8.0)


def test_the_label_says_everything():
    settings = EvaluateSettings(crop="garg")
    assert settings.protocol("controlled", 0.001, 80).label == (
        "controlled protocol: garg crop, 0.001 to 80 m, native size, with flip averaging, no median scaling"
    )
    other = EvaluateSettings(flip_average=False, median_scaling=True)
    assert other.protocol("custom", 0.5, 10).label == (
        "custom protocol: no crop, 0.5 to 10 m, native size, no flip averaging, WITH median scaling"
    )


def test_an_empty_range_is_refused():
    with pytest.raises(SpaceClipError, match="the depth range is 12 to 10 m, expected min_depth < max_depth"):
        EvaluateSettings(min_depth=12).protocol("custom", 0.001, 10)


def test_an_unknown_crop_is_refused_when_the_settings_are_read():
    with pytest.raises(SpaceClipError, match="did you mean nyu_eigen"):
        EvaluateSettings(crop="nyu")


@pytest.mark.parametrize(
    "wrong", [{"crops": "none"}, {"min_depth": 0}, {"batch_size": 0}, {"figures": -1}, {"max_depth": "far"}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluateSettings(**wrong)


def test_a_protocol_survives_json_and_cannot_be_altered(protocol):
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
    with pytest.raises(ValidationError):
        protocol.crop = "garg"
