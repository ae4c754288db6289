"""What training holds in memory, as it is said before."""

import numpy as np
import pytest
import torch
from spaceclip.cache import Batches
from spaceclip.train import LossSettings, loaded_bytes, state_bytes
from spaceclip.train.feed import feed
from spaceclip.train.state import Progress
from spaceclip.train.trainee import Trainee

CPU = torch.device("cpu")


@pytest.mark.parametrize("changes", [{}, {"structural": False}, {"film": False}])
def test_the_state_is_all_that_a_decoder_holds_after_a_step(make_cache, small, recipe, changes):
    settings = small.model_copy(update=changes)
    learned = recipe.model_copy(update={"loss": LossSettings(auxiliary=(0.1, 0.05, 0.01))})
    trainee = Trainee(settings, learned, CPU, 3, Progress())
    trainee.step(next(feed(Batches(make_cache(), 4, [0, 1, 2, 3], seed=1).epoch(0), CPU)))
    step, models = trainee._step, trainee.models.values()
    held = [tensor for model in models for tensor in (*model.parameters(), *model.buffers())]
    held += [weight.grad for weight in step.parameters if weight.grad is not None]
    held += [value for moments in step.optimizer.state.values() for name, value in moments.items() if name != "step"]
    held += step._before
    assert state_bytes(settings) == sum(tensor.nbytes for tensor in held)


def test_features_that_are_loaded_once_are_counted_in_each_view_that_is_seen(make_cache, recipe):
    cache, layers = make_cache(12), [0, 3]
    sample = sum(cache.states([0], layers=layers)[layer].nbytes for layer in layers)
    sample += cache.pooled([0]).nbytes + cache.depth(0).size * np.dtype(cache.depth_counts).itemsize
    for flips, views in ((0.0, 1), (0.5, 2)):
        kept = recipe.model_copy(update={"resident": "memory", "flip_probability": flips})
        assert loaded_bytes(cache, layers, kept, CPU) == 12 * views * sample
    assert loaded_bytes(cache, layers, recipe, CPU) == 0
