from dataclasses import replace

import numpy as np
import pytest
import torch
from spaceclip.cache import Batch
from spaceclip.train.feed import feed


def batch_of(states, scales):
    pooled, depth = np.ones((2, 3), np.float32), np.ones((2, 1, 4, 5), np.uint32)
    return Batch(np.arange(2), np.zeros(2, bool), states, scales, pooled, depth, 0.001)


def test_tokens_in_int8_are_multiplied_by_their_scales_to_the_nearest_float16():
    draw = np.random.default_rng(0)
    steps = draw.integers(-127, 128, (2, 500, 3), dtype=np.int8)
    scales = draw.uniform(0, 500, (2, 3)).astype(np.float32)
    (inputs,) = feed([batch_of({6: steps}, {6: scales})], torch.device("cpu"))
    # A product of 8 and 24 bits is exact in float64.
    expected = (steps.astype(np.float64) * scales[:, None].astype(np.float64)).astype(np.float32).astype(np.float16)
    np.testing.assert_array_equal(inputs.states[6].numpy(), expected)


def test_tokens_in_float16_come_as_they_are():
    states = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float16)
    (inputs,) = feed([batch_of({0: states, 6: -states}, {})], torch.device("cpu"))
    np.testing.assert_array_equal(inputs.states[0].numpy(), states)
    np.testing.assert_array_equal(inputs.states[6].numpy(), -states)


@pytest.mark.parametrize(("kind", "most"), [(np.uint16, 2**16), (np.uint32, 2**24), (np.uint32, 2**32)])
@pytest.mark.parametrize("unit", [0.001, 1 / 256, 1 / 500, 0.0123])
def test_depth_comes_in_metres_mirrored_where_the_view_is(kind, most, unit):
    counts = np.random.default_rng(0).integers(0, most, (2, 1, 30, 400), kind)
    counts[0, 0, 0, :2] = 0, most - 1
    batch = replace(batch_of({}, {}), depth=counts, unit=unit, flipped=np.array([False, True]))
    (inputs,) = feed([batch], torch.device("cpu"))
    expected = (counts * np.float64(unit)).astype(np.float32)
    expected[1] = expected[1, ..., ::-1]
    # Of a unit that divides the metre, the float32 nearest to the truth.
    exact = most <= 2**24 and unit != 0.0123
    np.testing.assert_allclose(inputs.depth.numpy(), expected, rtol=0 if exact else 2e-7)


def test_only_cuda_copies_while_the_source_may_change(monkeypatch):
    asked, move = [], torch.Tensor.to

    def watched(self, *args, **options):
        asked.append(options.get("non_blocking", False))
        return move(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "to", watched)
    list(feed([batch_of({6: np.zeros((2, 4, 3), np.int8)}, {6: np.ones((2, 3), np.float32)})], torch.device("meta")))
    assert asked
    assert not any(asked)
