import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from spaceclip.cache.format.int8 import quantise, restore

FINITE = st.floats(width=16, allow_nan=False, allow_infinity=False)
STATES = arrays(np.float16, st.tuples(*[st.integers(1, 5)] * 3), elements=FINITE)
# Of float16: half of the last of its 11 bits, and of its smallest number.
RELATIVE, SMALLEST = 2.0**-11, 2.0**-25


def _restored(states: np.ndarray) -> np.ndarray:
    steps, scales = quantise(states)
    out = np.full(states.shape, np.nan, np.float16)
    for row in range(len(states)):
        restore(steps[row], scales[row], out[row])
    return out


@given(STATES)
@settings(deadline=None)
def test_every_value_comes_back_within_half_a_step(states):
    _, scales = quantise(states)
    exact, found = states.astype(np.float64), _restored(states).astype(np.float64)
    bound = scales[:, None].astype(np.float64) / 2 * (1 + 1e-5)
    assert (np.abs(found - exact) <= bound + np.abs(found) * RELATIVE + SMALLEST).all()


@given(STATES)
@settings(deadline=None)
def test_peaks_and_zeros_come_back_as_they_were(states):
    found, sizes = _restored(states), np.abs(states.astype(np.float64))
    peaks = sizes == sizes.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(found[peaks], states[peaks])
    assert not found[states == 0].any()


@given(arrays(np.int8, (4, 3), elements=st.integers(-127, 127)), arrays(np.float16, 3, elements=FINITE))
@settings(deadline=None)
def test_steps_times_scale_is_to_the_nearest_float16(steps, peak):
    scale = np.abs(peak).astype(np.float32) / np.float32(127)
    out = np.empty(steps.shape, np.float16)
    restore(steps, scale, out)
    product = steps.astype(np.float64) * scale
    assert (np.abs(out - product) <= np.spacing(np.abs(out)).astype(np.float64) / 2 * (1 + 1e-3)).all()
    np.testing.assert_array_almost_equal_nulp(out + np.float16(0), product.astype(np.float16) + np.float16(0), 1)


def test_an_outlier_channel_costs_the_others_nothing():
    draw = np.random.default_rng(0)
    states = draw.normal(size=(2, 196, 64)).astype(np.float16)
    alone = _restored(states)
    states[:, :, 7] *= 1000
    together = _restored(states)
    np.testing.assert_array_equal(np.delete(together, 7, axis=2), np.delete(alone, 7, axis=2))
    assert np.abs(together.astype(np.float64) - states)[:, :, :7].max() < 0.02


def test_a_scale_is_what_a_step_is_worth_and_0_in_a_channel_of_zeros():
    states = np.zeros((1, 3, 3), np.float16)
    states[0, :, 1], states[0, 1, 2] = [1, -127, 0.49], 65_504
    steps, scales = quantise(states)
    np.testing.assert_array_equal(scales, np.array([[0, 1, 65_504 / 127]], np.float32))
    np.testing.assert_array_equal(steps[0], [[0, 1, 0], [0, -127, 127], [0, 0, 0]])
    assert np.isfinite(_restored(states)).all()


def test_the_smallest_numbers_keep_their_bits():
    states = np.array([[[2.0**-24, 3 * 2.0**-24, -(2.0**-24)]]], np.float16)
    np.testing.assert_array_equal(_restored(states), states)
