import numpy as np
import torch
from spaceclip.cache import Batch
from spaceclip.train.feed import feed


def batch_of(states, scales):
    return Batch(
        np.arange(2), np.zeros(2, bool), states, scales, np.ones((2, 3), np.float32), np.ones((2, 1, 4, 5), np.float32)
    )


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


def test_only_cuda_copies_while_the_source_may_change(monkeypatch):
    asked, move = [], torch.Tensor.to

    def watched(self, *args, **options):
        asked.append(options.get("non_blocking", False))
        return move(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "to", watched)
    list(feed([batch_of({6: np.zeros((2, 4, 3), np.int8)}, {6: np.ones((2, 3), np.float32)})], torch.device("meta")))
    assert asked
    assert not any(asked)
