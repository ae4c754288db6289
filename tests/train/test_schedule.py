from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spaceclip.train.schedule import learning_rate

DATA = Path(__file__).parents[1] / "data"


def test_rates_are_those_of_the_release():
    with np.load(DATA / "schedule.npz") as golden:
        total, base, smallest, warmup = (
            golden[name].item() for name in ("total_steps", "base_lr", "min_lr", "warmup_ratio")
        )
        for step, rate in zip(golden["steps"].tolist(), golden["lr"].tolist(), strict=True):
            assert learning_rate(step, total, base, smallest, warmup) == pytest.approx(rate, rel=1e-9)


@given(st.integers(1, 5000), st.floats(0.0, 0.9))
def test_rate_rises_to_the_base_then_falls_towards_the_smallest(total, warmup):
    rates = [learning_rate(step, total, 1e-4, 1e-6, warmup) for step in range(total)]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(1e-4)
    assert all(0 < rate <= 1e-4 * (1 + 1e-12) for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates[top:]) >= 1e-6


def test_without_warm_up_the_first_rate_is_the_base():
    assert learning_rate(0, 10, 1e-4, 1e-6, 0.0) == 1e-4
