import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import METRICS, EvaluateSettings, Protocol, Scorer, depth_metrics, read_truths, score
from torch.nn import functional


def score_image(prediction, truth, protocol):
    """The metrics of one image; None if it has no valid pixel."""
    scorer = Scorer(protocol)
    scorer.add("one", None, prediction, truth)
    return scorer.scores().mean


GOLDEN = Path(__file__).parents[1] / "data" / "metrics.npz"
NAMES = {"a1": "delta1", "a2": "delta2", "a3": "delta3", "log_10": "log10"}


@pytest.mark.parametrize(
    ("key", "metrics"), json.loads(str(np.load(GOLDEN)["expected"])).items(), ids=lambda value: str(value)[:20]
)
def test_scores_agree_with_the_authors_evaluator(key, metrics):
    data, crop, scaling = key.split("/")
    golden = np.load(GOLDEN)
    protocol = Protocol(
        name="custom", crop=crop if crop != "eigen" else f"{data}_eigen", min_depth=0.001,
        max_depth={"kitti": 80, "nyu": 10}[data], flip_average=False, median_scaling=scaling == "median",
    )  # fmt: skip
    found = score_image(golden[f"{data}_pred"], golden[f"{data}_gt"], protocol)
    del found["mae"]  # theirs was not recorded
    assert found == pytest.approx({NAMES.get(name) or name: value for name, value in metrics.items()}, rel=1e-6)


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
    assert perfect["abs_rel"] == 0
    assert whole["abs_rel"] == pytest.approx(1 - 251_354 / truth.size)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100))
def test_median_scaling_makes_the_scale_irrelevant(seed, scale):
    plain = EvaluateSettings().protocol("controlled", {}, 0.001, 1000.0)
    protocol = plain.model_copy(update={"median_scaling": True})
    generator = np.random.default_rng(seed)
    truth = generator.uniform(1, 10, (30, 40))
    prediction = truth * np.exp(generator.normal(0, 0.3, truth.shape))
    one, other = score_image(prediction, truth, protocol), score_image(prediction * scale, truth, protocol)
    assert one == pytest.approx(other, rel=1e-9)


def test_medians_are_taken_over_the_valid_pixels_before_clipping(protocol):
    scaled = protocol.model_copy(update={"median_scaling": True})
    truth = np.array([[0.0, 2.0, 4.0, 6.0, 50.0]])
    prediction = np.array([[900.0, 20.0, 40.0, 60.0, 900.0]])  # clipped first, all of it would be 10
    assert score_image(prediction, truth, scaled)["abs_rel"] == pytest.approx(0, abs=1e-12)


def test_a_zero_median_cannot_be_scaled(protocol):
    scaled = protocol.model_copy(update={"median_scaling": True})
    with pytest.raises(SpaceClipError, match="the median prediction is 0 m"):
        score_image(np.zeros((4, 4)), np.ones((4, 4)), scaled)


def test_a_prediction_of_another_size_is_refused(protocol):
    with pytest.raises(SpaceClipError, match=r"the prediction is \[4, 5\] and the ground truth \[4, 4\]"):
        score_image(np.ones((4, 5)), np.ones((4, 4)), protocol)


def test_the_mean_gives_each_image_equal_weight(protocol, make_maps, scored):
    maps = [*make_maps(2, known=1.0, seed=1), *make_maps(2, known=0.05, seed=2)]
    found = scored(maps)
    alone = [score_image(row.depths["plain"].numpy(), row.truths[None], protocol) for row in maps]
    assert [image.metrics for image in found.images] == alone
    assert [image.scene for image in found.images] == ["scene_0"] * 4
    for name in METRICS:
        assert found.mean[name] == pytest.approx(sum(metrics[name] for metrics in alone) / 4, rel=1e-12)


def test_a_scene_has_the_mean_of_its_images(make_maps, scored):
    found = scored(make_maps(5)).scenes()
    assert {scene: [image.sample_id for image in images] for scene, images in found.items()} == {
        "scene_0": ["id_0", "id_1"],
        "scene_1": ["id_2", "id_3"],
        "scene_2": ["id_4"],
    }


def test_images_without_a_region_leave_its_mean(make_maps, scored):
    smooth = make_maps(1)[0]
    flat = smooth._replace(truths={None: np.full_like(smooth.truths[None], 4)})
    found = scored([smooth, flat])
    assert [image.regions["boundary_0.03"] is None for image in found.images] == [False, True]
    assert found.region("boundary_0.03") == (1, found.images[0].regions["boundary_0.03"])
    assert found.region("interior_0.03")[0] == 1 + (found.images[0].regions["interior_0.03"] is not None)
    assert scored([flat]).region("boundary_0.10") == (0, None)


def test_one_pass_scores_every_size_and_prediction_like_a_pass_of_its_own(protocol, make_maps):
    truth_size, small = (60, 80), (30, 50)
    at_small = protocol.model_copy(update={"size": small, "crop": "garg"})
    maps = [
        row._replace(
            depths={**row.depths, "averaged": row.depths["plain"][::2, ::3] + 1},
            truths={None: row.truths[None], small: row.truths[None][::2, 5:55]},
        )
        for row in make_maps(2)
    ]
    scorers = [("plain", Scorer(protocol)), ("averaged", Scorer(at_small)), ("averaged", Scorer(protocol))]
    score(maps, scorers)
    for (name, scorer), size in zip(scorers, (truth_size, small, truth_size), strict=True):
        alone = Scorer(scorer.protocol)
        for row in maps:
            depth = functional.interpolate(row.depths[name][None, None], size, mode="bilinear", align_corners=False)
            alone.add(row.sample_id, row.scene, depth[0, 0].numpy(), row.truths[scorer.protocol.size])
        assert scorer.scores().images == alone.scores().images


def test_images_without_valid_pixels_are_named_and_left_out(make_maps, scored):
    rows = make_maps(3)
    blank = rows[0]._replace(sample_id="blank", truths={None: np.zeros_like(rows[0].truths[None])})
    found = scored([rows[0], blank, *rows[1:]])
    assert found.skipped == ("blank",)
    assert found.mean == scored(rows).mean


def test_error_by_depth_pools_the_pixels_of_all_images(make_maps, scored):
    rows = make_maps(3, known=0.5)
    found = scored(rows)
    truth = np.concatenate([row.truths[None].ravel() for row in rows])
    depth = np.clip(np.concatenate([row.depths["plain"].numpy().ravel() for row in rows]), 0.001, 10)
    assert found.depth_edges[[0, -3, -2, -1]] == pytest.approx([0.001, 5, 5 * 2**0.5, 10])
    for k in range(len(found.depth_edges) - 1):
        inside = (truth >= found.depth_edges[k]) & (truth < found.depth_edges[k + 1]) & (truth > 0)
        expected = (np.abs(depth - truth)[inside] / truth[inside]).mean() if inside.any() else np.nan
        assert found.depth_abs_rel[k] == pytest.approx(expected, rel=1e-5, nan_ok=True)
        assert found.depth_pixels[k] == inside.sum()


def test_a_prediction_that_is_not_a_number_is_named(make_maps, scored):
    row = make_maps(1)[0]
    row.depths["plain"][5, 5] = torch.nan
    with pytest.raises(SpaceClipError, match="id_0: the prediction is nan at a valid pixel"):
        scored([row])


def test_nothing_to_score_is_refused_naming_the_protocol(scored):
    with pytest.raises(SpaceClipError, match="no image has a valid pixel under the controlled protocol: no crop"):
        scored([])


def test_truths_come_at_their_own_and_at_the_training_size(make_cache):
    cache = make_cache(2, seed=0)
    found = read_truths(cache, [None, (12, 16)])(1)
    assert found[None] is cache.truths[1]
    assert found[12, 16] is cache.depths[1]


def test_a_size_that_the_store_does_not_keep_is_refused(make_cache):
    with pytest.raises(SpaceClipError, match=r"a truth of 352 x 704, .* and at 12 x 16: extract with target_size"):
        read_truths(make_cache(1, seed=0), [(352, 704)])
