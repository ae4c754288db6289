import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import METRICS, EvaluateSettings, Prediction, depth_metrics, score, score_image


def test_bounds_are_strict_and_the_prediction_is_clipped_to_them(protocol):
    truth = np.array([[0.0005, 0.001, 2.0, 4.0, 10.0, 11.0]], dtype=np.float32)
    prediction = np.array([[5.0, 5.0, -3.0, 40.0, 5.0, 5.0]], dtype=np.float32)
    protocol = protocol.model_copy(update={"min_depth": float(np.float32(0.001))})
    expected = depth_metrics([protocol.min_depth, 10.0], [2.0, 4.0], [True, True])
    assert score_image(prediction, truth, protocol) == pytest.approx(expected, rel=1e-6)


def test_only_the_crop_is_scored(protocol):
    truth = np.full((375, 1242), 5.0, dtype=np.float32)
    prediction = truth * 2
    prediction[153:371, 44:1197] = 5.0
    garg = protocol.model_copy(update={"crop": "garg"})
    perfect, whole = score_image(prediction, truth, garg), score_image(prediction, truth, protocol)
    assert perfect is not None
    assert whole is not None
    assert perfect["abs_rel"] == 0
    assert whole["abs_rel"] == pytest.approx(1 - 251_354 / truth.size)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100))
def test_median_scaling_makes_the_scale_irrelevant(seed, scale):
    protocol = EvaluateSettings(median_scaling=True).protocol("custom", 0.001, 1000.0)
    generator = np.random.default_rng(seed)
    truth = generator.uniform(1, 10, (30, 40))
    prediction = truth * np.exp(generator.normal(0, 0.3, truth.shape))
    one, other = score_image(prediction, truth, protocol), score_image(prediction * scale, truth, protocol)
    assert one == pytest.approx(other, rel=1e-9)


def test_medians_are_taken_over_the_valid_pixels_before_clipping(protocol):
    scaled = protocol.model_copy(update={"median_scaling": True})
    truth = np.array([[0.0, 2.0, 4.0, 6.0, 50.0]])
    prediction = np.array([[900.0, 20.0, 40.0, 60.0, 900.0]])  # clipped first, all of it would be 10
    found = score_image(prediction, truth, scaled)
    assert found is not None
    assert found["abs_rel"] == pytest.approx(0, abs=1e-12)


def test_a_zero_median_cannot_be_scaled(protocol):
    scaled = protocol.model_copy(update={"median_scaling": True})
    with pytest.raises(SpaceClipError, match="the median prediction is 0 m"):
        score_image(np.zeros((4, 4)), np.ones((4, 4)), scaled)


def test_an_image_without_valid_pixels_has_no_score(protocol):
    assert score_image(np.ones((4, 4)), np.zeros((4, 4)), protocol) is None


def test_a_prediction_of_another_size_is_refused(protocol):
    with pytest.raises(SpaceClipError, match=r"the prediction is \[4, 5\] and the ground truth \[4, 4\]"):
        score_image(np.ones((4, 5)), np.ones((4, 4)), protocol)


def test_the_mean_gives_each_image_equal_weight(protocol, make_predictions):
    dense, sparse = make_predictions(2, known=1.0, seed=1), make_predictions(2, known=0.05, seed=2)
    found = score([*dense, *sparse], protocol)
    alone = [score_image(row.depth, row.ground_truth, protocol) for row in (*dense, *sparse)]
    assert [image.metrics for image in found.images] == alone
    assert [image.scene for image in found.images] == ["scene_0"] * 4
    for name in METRICS:
        assert found.mean[name] == pytest.approx(sum(metrics[name] for metrics in alone if metrics) / 4, rel=1e-12)


def test_images_without_valid_pixels_are_named_and_left_out(protocol, make_predictions):
    rows = make_predictions(3)
    blank = Prediction("blank", None, rows[0].depth, np.zeros_like(rows[0].ground_truth))
    found = score([rows[0], blank, *rows[1:]], protocol)
    assert found.skipped == ("blank",)
    assert found.mean == score(rows, protocol).mean


def test_error_by_depth_pools_the_pixels_of_all_images(protocol, make_predictions):
    rows = make_predictions(3, known=0.5)
    found = score(rows, protocol)
    truth, depth = (np.concatenate([getattr(row, name).ravel() for row in rows]) for name in ("ground_truth", "depth"))
    depth = np.clip(depth, 0.001, 10)
    assert found.depth_edges[[0, -1]] == pytest.approx([0.001, 10])
    for k in range(10):
        inside = (truth >= found.depth_edges[k]) & (truth < found.depth_edges[k + 1]) & (truth > 0)
        expected = (np.abs(depth - truth)[inside] / truth[inside]).mean() if inside.any() else np.nan
        assert found.depth_abs_rel[k] == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_a_prediction_that_is_not_a_number_is_named(protocol, make_predictions):
    row = make_predictions(1)[0]
    row.depth[5, 5] = np.nan
    with pytest.raises(SpaceClipError, match="id_0: the prediction is nan at a valid pixel"):
        score([row], protocol)


def test_nothing_to_score_is_refused_naming_the_protocol(protocol):
    with pytest.raises(SpaceClipError, match="no image has a valid pixel under the controlled protocol: no crop"):
        score([], protocol)
