import numpy as np
import pytest
from spaceclip.evaluate import EvaluateSettings, Scorer

PROTOCOL = EvaluateSettings().protocol("controlled", {"split_by": "scene"}, 0.001, 80.0)
SIZES = ((96, 128), (50, 70), (96, 128), (40, 40))


@pytest.fixture
def truths():
    draw = np.random.default_rng(0)
    made = [np.exp(draw.normal(1, 0.2) + np.linspace(0, 1, h)[:, None] + draw.normal(0, 0.1, (h, w))) for h, w in SIZES]
    return [np.where(draw.random(truth.shape) < 0.7, truth, 0).astype(np.float32) for truth in made]


def ratios(truths, predict):
    scorer = Scorer(PROTOCOL, regions=False)
    for index, truth in enumerate(truths):
        scorer.add(f"{index}", None, predict(index, truth).astype(np.float32), truth)
    return {name: np.nan if ratio is None else ratio for name, ratio in scorer.scores().variation.items()}


def test_the_truth_varies_as_much_as_itself(truths):
    assert ratios(truths, lambda _, truth: truth) == pytest.approx({"pixels": 1, "images": 1})


def test_half_the_spread_of_log_depth_is_half(truths):
    found = ratios(truths, lambda _, truth: np.sqrt(np.where(truth > 0, truth, 1)))
    assert found == pytest.approx({"pixels": 0.5, "images": 0.5}, rel=1e-6)


def test_flat_maps_do_not_vary_over_pixels(truths):
    found = ratios(truths, lambda index, truth: np.full(truth.shape, 2.0 + index))
    assert found["pixels"] == pytest.approx(0, abs=1e-6)
    assert found["images"] > 0.5


def test_one_map_for_all_images_does_not_vary_over_images(truths):
    truths = [truth for truth in truths if truth.shape == (96, 128)]
    found = ratios(truths, lambda _, truth: np.broadcast_to(np.linspace(2, 6, len(truth))[:, None], truth.shape))
    assert found["images"] == pytest.approx(0, abs=1e-6)
    assert found["pixels"] > 0.5


def test_a_truth_that_hardly_varies_gives_no_share():
    flat = [np.full((40, 50), 3, np.float32)] * 2
    assert np.isnan(list(ratios(flat, lambda _, truth: truth).values())).all()
    assert np.isnan(ratios(flat[:1], lambda _, truth: truth)["images"])
