import doctest
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import metrics
from spaceclip.evaluate.boundary import boundary_regions
from spaceclip.evaluate.crops import crop_mask
from spaceclip.evaluate.metrics import METRICS, abs_rel_by_depth, abs_rel_by_place, depth_metrics, region_metrics

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "metrics.npz")
EXPECTED = json.loads(str(GOLDEN["expected"]))
CROPS = {"none": "none", "garg": "garg", "kitti/eigen": "kitti_eigen", "nyu/eigen": "nyu_eigen"}
THEIR_NAMES = {"log10": "log_10", "delta1": "a1", "delta2": "a2", "delta3": "a3"}


def plain_reference(prediction, target, valid):
    """The definitions, pixel by pixel, with exactly rounded sums."""
    pairs = [(float(p), float(g)) for p, g, v in zip(prediction.flat, target.flat, valid.flat, strict=True) if v]
    n = len(pairs)
    logs = [math.log(p) - math.log(g) for p, g in pairs]
    centre = math.fsum(logs) / n
    deltas = {f"delta{k}": sum(max(p / g, g / p) < 1.25**k for p, g in pairs) / n for k in (1, 2, 3)}
    return {
        "abs_rel": math.fsum(abs(p - g) / g for p, g in pairs) / n,
        "sq_rel": math.fsum((p - g) ** 2 / g for p, g in pairs) / n,
        "mae": math.fsum(abs(p - g) for p, g in pairs) / n,
        "rmse": math.sqrt(math.fsum((p - g) ** 2 for p, g in pairs) / n),
        "rmse_log": math.sqrt(math.fsum(e * e for e in logs) / n),
        "log10": math.fsum(abs(math.log10(p) - math.log10(g)) for p, g in pairs) / n,
        "silog": 100 * math.sqrt(math.fsum((e - centre) ** 2 for e in logs) / n),
        **deltas,
    }


@pytest.mark.parametrize("key", EXPECTED)
def test_the_authors_metrics_are_reproduced(key):
    dataset, crop, scaling = key.split("/")
    cap, prediction, truth = {"kitti": 80.0, "nyu": 10.0}[dataset], GOLDEN[f"{dataset}_pred"], GOLDEN[f"{dataset}_gt"]
    valid = (truth > 0.001) & (truth < cap) & crop_mask(CROPS.get(crop) or CROPS[f"{dataset}/{crop}"], *truth.shape)
    if scaling == "median":
        prediction = prediction * (float(np.median(truth[valid])) / float(np.median(prediction[valid])))
    ours = depth_metrics(prediction.clip(0.001, cap), truth, valid)
    theirs = [name for name in METRICS if name != "mae"]  # theirs was not recorded
    expected = {name: EXPECTED[key][THEIR_NAMES.get(name, name)] for name in theirs}
    assert {name: ours[name] for name in theirs} == pytest.approx(expected, rel=1e-6)


def test_the_worked_example_gives_its_numbers():
    target = np.array([1.0, 2, 4, 8])
    found = depth_metrics([1.1, 2, 3, 12], target, target > 0)
    expected = {
        "abs_rel": 0.2125, "sq_rel": 0.565, "mae": 1.275, "rmse": 2.062159062730, "rmse_log": 0.253104207332,
        "log10": 0.085605670206, "silog": 24.743422331, "delta1": 0.5, "delta2": 1.0, "delta3": 1.0,
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_doctest_is_true():
    assert doctest.testmod(metrics).failed == 0
    assert doctest.testmod(metrics).attempted > 0


def test_thresholds_are_strict_and_a_constant_factor_has_no_silog():
    target = np.random.default_rng(0).uniform(0.5, 9, 50_000).astype(np.float32)
    found = depth_metrics(1.25 * target.astype(np.float64), target, target > 0)
    assert found["delta1"] == 0
    assert found["delta2"] == 1
    assert found["silog"] == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 300),
    width=st.integers(1, 150),
    spread=st.floats(0.0, 1.5),
    known=st.floats(0.01, 1.0),
)
def test_metrics_agree_with_a_plain_pixel_by_pixel_reference(seed, height, width, spread, known):
    generator = np.random.default_rng(seed)
    target = generator.uniform(0.1, 80, (height, width)).astype(np.float32)
    prediction = (target * np.exp(generator.normal(0.1, spread, target.shape))).astype(np.float32)
    valid = generator.random(target.shape) < known
    valid[generator.integers(height), generator.integers(width)] = True
    expected = plain_reference(prediction, target, valid)
    assert depth_metrics(prediction, target, valid) == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_a_full_size_map_agrees_with_the_definitions_in_every_region():
    generator = np.random.default_rng(7)
    target = generator.uniform(1, 9, (12, 16)).repeat(40, 0).repeat(40, 1)
    target = (target * np.exp(generator.normal(0, 0.006, target.shape))).astype(np.float32)
    prediction = (target * np.exp(generator.normal(0.03, 0.2, target.shape))).astype(np.float32)
    valid = generator.random(target.shape) > 0.001
    regions = {"valid": valid} | boundary_regions(target, valid)
    found = region_metrics(prediction, target, regions)
    assert len(found) == 7
    assert found["valid"] == pytest.approx(plain_reference(prediction, target, valid), rel=1e-9)
    for name, mask in regions.items():
        p, g = prediction[mask].astype(np.float64), target[mask].astype(np.float64)
        logs, worse = np.log(p) - np.log(g), np.maximum(p / g, g / p)
        expected = {
            "abs_rel": np.mean(np.abs(p - g) / g),
            "sq_rel": np.mean((p - g) ** 2 / g),
            "mae": np.mean(np.abs(p - g)),
            "rmse": np.sqrt(np.mean((p - g) ** 2)),
            "rmse_log": np.sqrt(np.mean(logs**2)),
            "log10": np.mean(np.abs(np.log10(p) - np.log10(g))),
            "silog": 100 * np.std(logs),
            **{f"delta{k}": np.mean(worse < 1.25**k) for k in (1, 2, 3)},
        }
        assert found[name] == pytest.approx(expected, rel=1e-9), name


def test_a_region_without_a_pixel_has_no_metrics():
    target = np.linspace(1, 5, 20).reshape(4, 5)
    found = region_metrics(target, target, {"near": target < 2, "beyond": target > 9})
    assert found["near"] is not None
    assert found["beyond"] is None
    assert region_metrics(target, target, {"beyond": target > 9}) == {"beyond": None}
    assert region_metrics(target, target, {}) == {}


def test_a_region_of_another_shape_is_named():
    with pytest.raises(SpaceClipError, match=r"the sky mask \[3\], expected one shape"):
        region_metrics(np.ones(2), np.ones(2), {"near": np.ones(2), "sky": np.ones(3)})


def test_what_is_not_valid_is_not_looked_at():
    target = np.array([1.0, 2.0, np.nan, 0.0])
    valid = np.array([True, True, False, False])
    assert depth_metrics([1.0, 2.0, -1.0, np.inf], target, valid)["abs_rel"] == 0


def test_tensors_are_scored_like_arrays():
    target = np.linspace(1, 5, 20, dtype=np.float32).reshape(4, 5)
    arrays = depth_metrics(target * 1.1, target, target > 2)
    assert (
        depth_metrics(torch.from_numpy(target * 1.1), torch.from_numpy(target), torch.from_numpy(target > 2)) == arrays
    )


@pytest.mark.parametrize(
    ("prediction", "target", "valid", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), np.ones((3, 2)), r"the prediction is \[2, 3\], the target \[3, 2\]"),
        (np.ones((3, 2)), np.ones((3, 2)), np.ones((1, 2)), r"the valid mask \[1, 2\], expected one shape"),
        (np.ones(4), np.ones(4), np.zeros(4), "none of 4 pixels is valid"),
        (np.array([1.0, 0.0]), np.ones(2), np.ones(2), "the prediction is 0.0 at a valid pixel"),
        (np.array([1.0, np.nan]), np.ones(2), np.ones(2), "the prediction is nan at a valid pixel"),
        (np.array([1.0, np.inf]), np.ones(2), np.ones(2), "the prediction is inf at a valid pixel"),
        (np.ones(2), np.array([1.0, -2.0]), np.ones(2), "the target is -2.0 at a valid pixel"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(prediction, target, valid, message):
    with pytest.raises(SpaceClipError, match=message) as refusal:
        depth_metrics(prediction, target, valid)
    assert "\n" not in str(refusal.value)


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 13), st.integers(1, 13)), st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_error_by_place_agrees_with_a_loop_over_pixels(size, cells):
    generator = np.random.default_rng(sum(size))
    prediction, target = generator.uniform(1, 9, (2, *size)).astype(np.float32)
    valid, expected = generator.random(size) < 0.7, np.zeros((2, *cells))
    for (row, column), known in np.ndenumerate(valid):
        if known:
            p, g = float(prediction[row, column]), float(target[row, column])
            at = row * cells[0] // size[0], column * cells[1] // size[1]
            expected[0][at] += abs(p - g) / g
            expected[1][at] += 1
    np.testing.assert_allclose(abs_rel_by_place(prediction, target, valid, cells), expected, rtol=1e-12)


def test_error_by_depth_agrees_with_masks():
    generator = np.random.default_rng(3)
    target, prediction = generator.uniform(0, 10, (2, 200, 150)) + 0.001
    target[0, :11] = np.arange(11)  # on the edges, one beyond each end
    target[0, 0] = 0.5
    valid = generator.random(target.shape) < 0.7
    valid[0] = True
    edges = np.linspace(1, 9, 9)
    sums = abs_rel_by_depth(prediction, target, valid, edges)
    lower, upper = edges[:-1].copy(), edges[1:].copy()
    lower[0], upper[-1] = -np.inf, np.inf
    for k in range(8):
        chosen = valid & (target >= lower[k]) & (target < upper[k])
        expected = (np.abs(prediction - target) / target)[chosen]
        assert sums[:, k] == pytest.approx([expected.sum(), expected.size], rel=1e-9)
