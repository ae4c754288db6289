"""Metrics of a batch are those of each of its maps alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.evaluate import METRICS, depth_metrics
from spaceclip.evaluate.batch_metrics import batch_metrics


def check(prediction, target, valid):
    """Hold every map of a batch [B, H, W] against `depth_metrics`; return the metrics [B, 10]."""
    maps = [np.asarray(one, kind) for one, kind in ((prediction, "f4"), (target, "f4"), (valid, "?"))]
    found = batch_metrics(*(torch.from_numpy(one) for one in maps))
    assert found.shape == (len(maps[0]), 1 + len(METRICS))
    for row, *one in zip(found.tolist(), *maps, strict=True):
        assert row[0] == one[2].sum()
        wanted = depth_metrics(*one) if one[2].any() else dict.fromkeys(METRICS, np.nan)
        assert dict(zip(METRICS, row[1:], strict=True)) == pytest.approx(wanted, rel=1e-6, abs=1e-6, nan_ok=True)
    return found[:, 1:].numpy()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    spread=st.sampled_from([0, 1e-6, 1e-3, 0.1, 1, 5]),
    shift=st.floats(-2, 2),
    share=st.sampled_from([0.01, 0.3, 1]),
)
def test_any_map_is_scored_as_it_is_alone(seed, shape, spread, shift, share):
    draw = np.random.default_rng(seed)
    target = np.exp(draw.uniform(np.log(0.002), np.log(79), shape))
    prediction = (target * np.exp(draw.normal(shift, spread, shape))).clip(0.001, 80)
    check(prediction, target, draw.random(shape) < share)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_ratio_at_a_threshold_does_not_count_and_the_next_float_does(k):
    target = np.full((2, 3, 4), 4.0, np.float32)
    at = target * np.float32(1.25**k)
    found = check(np.stack((at[0], np.nextafter(at[1], np.float32(0)))), target, target > 0)
    assert found[:, METRICS.index(f"delta{k}")].tolist() == [0, 1]
    low = np.float32(4 / 1.25**k)
    check(np.stack((target[0] * 0 + low, target[1] * 0 + np.nextafter(low, np.float32(9)))), target, target > 0)


@pytest.mark.parametrize("ratio", [0.3, 0.75, 1.0, 1.1, 7.0])
def test_silog_of_a_constant_ratio_is_zero(ratio):
    target = np.round(np.random.default_rng(0).uniform(1, 9, (2, 50, 60)) * 64) / 64
    prediction = (target.astype(np.float32) * np.float32(np.round(ratio * 64) / 64)).astype(np.float32)
    assert check(prediction, target, target > 2)[:, METRICS.index("silog")] == pytest.approx(0, abs=1e-6)


def test_one_valid_pixel_is_enough_and_a_map_without_one_has_no_metrics():
    target = np.full((2, 5, 6), 3.0)
    valid = np.zeros(target.shape, bool)
    valid[0, 2, 3] = True
    found = check(target * 1.1, target, valid)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_what_is_not_valid_is_not_looked_at_and_nan_where_it_is_valid_is_seen():
    target, valid = np.full((1, 5, 6), 3.0, np.float32), np.ones((1, 5, 6), bool)
    valid[0, 1] = False
    prediction = np.where(valid, np.float32(4), np.float32(np.nan))
    target[~valid] = 0
    assert np.isfinite(check(prediction, target, valid)).all()
    prediction[0, 3, 3] = np.nan
    found = batch_metrics(*(torch.from_numpy(one) for one in (prediction, target, valid)))
    assert found[0, 0] == valid.sum()
    assert found[0, 1].isnan()
