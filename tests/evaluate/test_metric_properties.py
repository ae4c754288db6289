"""What must hold of the metrics for any maps, in every region."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.evaluate.boundary import REGIONS, boundary_regions
from spaceclip.evaluate.crops import crop_mask
from spaceclip.evaluate.metrics import METRICS, depth_metrics, region_metrics

seeds = st.integers(0, 2**32 - 1)
any_maps = settings(deadline=None, max_examples=30)


def make_truth(generator, height=90, width=140):
    """Blocks of constant depth with noise, so that every threshold has both a boundary and an interior."""
    blocks = generator.uniform(1, 9, (height // 30 + 1, width // 35 + 1)).repeat(30, 0).repeat(35, 1)[:height, :width]
    return (blocks * np.exp(generator.normal(0, 0.004, blocks.shape))).astype(np.float32)


def make_maps(generator, height=90, width=140):
    truth = make_truth(generator, height, width)
    prediction = (truth * np.exp(generator.normal(0.05, 0.3, truth.shape))).astype(np.float32)
    return prediction, truth, generator.random(truth.shape) > 0.0005


def all_regions(truth, valid):
    return {"valid": valid} | boundary_regions(truth, valid)


def close(metrics):
    return metrics and pytest.approx(metrics, rel=1e-9, abs=1e-11)


@any_maps
@given(seed=seeds, factor=st.floats(0.2, 5.0))
def test_a_constant_factor_has_closed_form_metrics_in_every_region(seed, factor):
    truth = make_truth(np.random.default_rng(seed)).astype(np.float64)
    regions = all_regions(truth, truth > 0)
    wrong, log = abs(factor - 1), abs(math.log(factor))
    for name, found in region_metrics(factor * truth, truth, regions).items():
        inside = truth[regions[name]]
        if not inside.size:
            assert found is None
            continue
        assert found is not None
        expected = {
            "abs_rel": wrong,
            "sq_rel": wrong**2 * inside.mean(),
            "rmse": wrong * math.sqrt((inside**2).mean()),
            "rmse_log": log,
            "log10": abs(math.log10(factor)),
            "silog": 0.0,
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-9, abs=1e-11)
        for k in (1, 2, 3):
            if abs(log - k * math.log(1.25)) > 1e-9:
                assert found[f"delta{k}"] == (log < k * math.log(1.25))


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ratio_at_a_delta_threshold_does_not_count_and_has_silog_exactly_zero(k, sign):
    multiples = np.round(make_truth(np.random.default_rng(k)) * 64) * 1.25**3  # so that every ratio is exact
    prediction, truth = (multiples * 1.25**k, multiples)[::sign]
    found = region_metrics(prediction, truth, all_regions(truth, truth > 0))
    assert set(REGIONS) < set(found)
    for metrics in found.values():
        assert metrics is not None
        assert metrics["silog"] == 0
        assert metrics[f"delta{k}"] == 0
        assert [metrics[f"delta{j}"] for j in range(k + 1, 4)] == [1] * (3 - k)


@any_maps
@given(seed=seeds, factors=st.lists(st.sampled_from([0.75, 1.0, 1.25, 1.5, 3.0, 5.0]), min_size=3, max_size=3))
def test_silog_is_exactly_zero_in_a_region_of_constant_ratio_whatever_the_others(seed, factors):
    generator = np.random.default_rng(seed)
    part = generator.integers(0, 3, (90, 140))
    truth = np.round(make_truth(generator) * 64) / 64  # few digits, so that every ratio is exact
    prediction = truth * np.array(factors, dtype=np.float32)[part]
    regions = {"all": truth > 0} | {str(number): part == number for number in range(3)}
    found = region_metrics(prediction, truth, regions)
    for number, factor in enumerate(factors):
        metrics = found[str(number)]
        assert metrics is not None
        assert metrics["silog"] == 0
        assert metrics["abs_rel"] == pytest.approx(abs(factor - 1))


@any_maps
@given(seed=seeds, height=st.integers(1, 90), width=st.integers(1, 140))
def test_flipping_both_maps_changes_nothing_in_any_region(seed, height, width):
    prediction, truth, valid = make_maps(np.random.default_rng(seed), height, width)
    found = region_metrics(prediction, truth, all_regions(truth, valid))
    mirrored_truth, mirrored_valid = np.fliplr(truth), np.fliplr(valid)
    mirrored = region_metrics(np.fliplr(prediction), mirrored_truth, all_regions(mirrored_truth, mirrored_valid))
    assert mirrored == {name: close(metrics) for name, metrics in found.items()}


@any_maps
@given(seed=seeds)
def test_regions_scored_together_are_as_each_alone(seed):
    generator = np.random.default_rng(seed)
    prediction, truth, valid = make_maps(generator)
    regions = all_regions(truth, valid) | {"few": generator.random(truth.shape) < 0.001, "none": valid & ~valid}
    found = region_metrics(prediction, truth, regions)
    assert list(found) == list(regions)
    for name, mask in regions.items():
        assert found[name] == (close(depth_metrics(prediction, truth, mask)) if mask.any() else None)


@pytest.mark.parametrize(
    ("crop", "size", "rows", "columns"),
    [
        ("nyu_eigen", (480, 640), (45, 471), (41, 601)),
        ("garg", (375, 1242), (153, 371), (44, 1197)),
        ("garg", (352, 1216), (143, 349), (43, 1172)),
        ("kitti_eigen", (375, 1242), (124, 342), (44, 1197)),
    ],
)
def test_a_crop_scores_what_the_cut_out_maps_score(crop, size, rows, columns):
    prediction, truth, valid = make_maps(np.random.default_rng(4), *size)
    cut = (slice(*rows), slice(*columns))
    cropped = region_metrics(prediction, truth, all_regions(truth, valid & crop_mask(crop, *size)))
    alone = region_metrics(prediction[cut], truth[cut], all_regions(truth[cut], valid[cut]))
    assert None not in cropped.values()
    assert cropped == {name: close(metrics) for name, metrics in alone.items()}


@any_maps
@given(seed=seeds, cap=st.floats(2, 8))
def test_caps_and_crops_commute_with_the_mean_over_images(seed, cap):
    generator = np.random.default_rng(seed)
    predictions, truths, known = (
        np.stack(maps) for maps in zip(*(make_maps(generator) for _ in range(3)), strict=True)
    )
    crop = crop_mask("garg", 90, 140)
    table = []
    for prediction, truth, valid in zip(predictions, truths, known, strict=True):
        cut = valid & crop & (truth > 1e-3) & (truth < cap)
        table.append(depth_metrics(prediction[cut].clip(1e-3, cap), truth[cut], cut[cut]) if cut.any() else None)
    # The whole set at once: capped, then cropped, an image a region.
    capped, valid = predictions.clip(1e-3, cap), known & crop & (truths > 1e-3) & (truths < cap)
    images = np.arange(3)[:, None, None]
    found = region_metrics(capped, truths, {str(image): valid & (images == image) for image in range(3)})
    assert list(found.values()) == [close(metrics) for metrics in table]
    scored = [(one, other) for one, other in zip(found.values(), table, strict=True) if one and other]
    for name in METRICS if scored else ():
        ours, theirs = zip(*((one[name], other[name]) for one, other in scored), strict=True)
        assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=1e-9, abs=1e-11)
