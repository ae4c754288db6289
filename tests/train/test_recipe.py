import pytest
from pydantic import ValidationError
from spaceclip.train import LossSettings, TrainSettings


@pytest.mark.parametrize("settings", [{"min_depth": 10, "max_depth": 10}, {"min_depth": 100}, {"max_depth": 0.001}])
def test_a_depth_range_that_holds_nothing_is_refused(settings):
    with pytest.raises(ValidationError, match="expected more than min_depth, which is"):
        TrainSettings.model_validate(settings)


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "clip_norm", "min_depth", "max_depth"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_setting_that_is_no_number_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        TrainSettings.model_validate({name: value})


def test_losses_that_leave_the_depth_untrained_are_refused():
    with pytest.raises(ValidationError, match="nothing trains the depth"):
        LossSettings(silog=0, ssim=0)


@pytest.mark.parametrize(
    ("given", "images", "batch_size"),
    [
        ({}, 14, 14),
        ({}, 64, 64),
        ({}, 200, 64),
        ({}, 0, 64),
        ({"batch_size": 32}, 14, 32),
        ({"batch_size": 32, "overfit": 3}, 3, 3),
    ],
)
def test_a_default_batch_is_lowered_to_the_images_that_there_are(given, images, batch_size):
    assert TrainSettings(**given).fitted(images).batch_size == batch_size
