import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate.boundary import REGIONS, THRESHOLDS, boundary_regions

WINDOW = np.ones((7, 7), dtype=bool)


def plain_reference(truth, valid):
    """The definition, pixel by pixel."""
    height, width = truth.shape
    regions = {name: np.zeros(truth.shape, dtype=bool) for name in REGIONS}
    for threshold in THRESHOLDS:
        marks = set()
        for y in range(height):
            for x in range(width):
                for v, u in ((y + 1, x), (y, x + 1)):
                    if v < height and u < width and valid[y, x] and valid[v, u]:
                        jump = abs(math.log(truth[y, x]) - math.log(truth[v, u]))
                        marks |= {(y, x), (v, u)} if jump > threshold else set()
        for y in range(3, height - 3):
            for x in range(3, width - 3):
                window = [(v, u) for v in range(y - 3, y + 4) for u in range(x - 3, x + 4)]
                if all(valid[place] for place in window):
                    part = "boundary" if marks & set(window) else "interior"
                    regions[f"{part}_{threshold:.2f}"][y, x] = True
    return regions


def steps_and_noise(generator, height, width, noise):
    """Blocks of constant depth, each pixel off by a little, float32 as stores hold it."""
    blocks = generator.uniform(1, 9, (height // 9 + 1, width // 11 + 1)).repeat(9, 0).repeat(11, 1)[:height, :width]
    return (blocks * np.exp(generator.normal(0, noise, blocks.shape))).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 40),
    width=st.integers(1, 24),
    noise=st.sampled_from([0.0, 0.008, 0.02]),
    unknown=st.sampled_from([0.0, 0.003, 0.02, 0.5]),
)
def test_regions_are_those_of_a_plain_pixel_by_pixel_reference(seed, height, width, noise, unknown):
    generator = np.random.default_rng(seed)
    truth = steps_and_noise(generator, height, width, noise)
    valid = generator.random(truth.shape) >= unknown
    truth[~valid] = 0
    found, expected = boundary_regions(truth, valid), plain_reference(truth, valid)
    assert tuple(found) == REGIONS
    for name in REGIONS:
        assert found[name].dtype == np.bool_
        assert np.array_equal(found[name], expected[name]), name


def test_a_full_size_map_agrees_with_image_morphology():
    generator = np.random.default_rng(1)
    truth = steps_and_noise(generator, 480, 640, 0.006)
    valid = generator.random(truth.shape) > 0.001
    inside = np.asarray(ndimage.binary_erosion(valid, WINDOW, border_value=0), dtype=bool)
    log_depth = np.log(truth.astype(np.float64))
    found = boundary_regions(np.where(valid, truth, np.nan), valid)
    for threshold in THRESHOLDS:
        marks = np.zeros_like(valid)
        down = (np.abs(np.diff(log_depth, axis=0)) > threshold) & valid[1:] & valid[:-1]
        right = (np.abs(np.diff(log_depth, axis=1)) > threshold) & valid[:, 1:] & valid[:, :-1]
        for here, there, pairs in ((marks[1:], marks[:-1], down), (marks[:, 1:], marks[:, :-1], right)):
            here |= pairs
            there |= pairs
        near = np.asarray(ndimage.binary_dilation(marks, WINDOW), dtype=bool)
        assert 0 < (near & inside).sum() < inside.sum()
        assert np.array_equal(found[f"boundary_{threshold:.2f}"], near & inside)
        assert np.array_equal(found[f"interior_{threshold:.2f}"], inside & ~near)


def test_a_step_marks_a_band_of_four_pixels_on_either_side():
    truth = np.full((20, 30), 2.0)
    truth[:, 15:] = 2.0 * math.exp(0.07)
    found = boundary_regions(truth, truth > 0)
    band = np.zeros(truth.shape, dtype=bool)
    band[3:17, 11:19] = True
    assert np.array_equal(found["boundary_0.03"], band)
    assert np.array_equal(found["boundary_0.05"], band)
    assert not found["boundary_0.10"].any()
    assert found["interior_0.10"].sum() == 14 * 24


@pytest.mark.parametrize("near", [1.7, 9.3, 33.0, 61.0, 79.0])
def test_thresholds_are_decided_in_float64(near):
    depth, decided = np.float32(near * math.exp(0.05)), set()
    for ulps in range(-12, 13):
        truth = np.full((9, 9), near, dtype=np.float32)
        truth[:, 5:] = depth + np.float32(ulps) * np.spacing(depth)
        above = math.log(float(truth[0, 5])) - math.log(float(truth[0, 0])) > 0.05
        assert boundary_regions(truth, truth > 0)["boundary_0.05"].any() == above
        decided.add(above)
    assert decided == {True, False}


def test_neither_diagonals_nor_unknown_pixels_make_a_boundary():
    truth = np.full((40, 40), 3.0)
    valid = np.ones(truth.shape, dtype=bool)
    truth[20:, :] = 9.0
    valid[20, :] = False  # the two depths never touch
    assert not any(boundary_regions(truth, valid)[f"boundary_{threshold:.2f}"].any() for threshold in THRESHOLDS)
    assert boundary_regions(truth, np.ones_like(valid))["boundary_0.10"].any()
    corner = np.full((20, 20), 3.0)
    corner[10:, 10:] = 9.0
    cross = np.ones(corner.shape, dtype=bool)
    cross[10:, :10] = cross[:10, 10:] = False
    assert not boundary_regions(corner, cross)["boundary_0.10"].any()


def test_flipping_the_map_flips_the_regions():
    generator = np.random.default_rng(5)
    truth = steps_and_noise(generator, 50, 70, 0.01)
    valid = generator.random(truth.shape) > 0.002
    found = boundary_regions(truth, valid)
    for flip in (np.fliplr, np.flipud):
        flipped = boundary_regions(flip(truth), flip(valid))
        assert all(np.array_equal(flipped[name], flip(found[name])) for name in REGIONS)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (6, 100), (100, 6), (0, 0)])
def test_a_map_without_a_whole_window_has_no_region(size):
    found = boundary_regions(np.ones(size), np.ones(size, dtype=bool))
    assert tuple(found) == REGIONS
    assert not any(mask.any() for mask in found.values())


def test_a_sparse_map_has_no_region():
    valid = np.random.default_rng(2).random((375, 1242)) < 0.04
    assert not any(mask.any() for mask in boundary_regions(np.where(valid, 5.0, 0.0), valid).values())


@pytest.mark.parametrize(
    ("truth", "valid", "message"),
    [
        (np.ones((9, 9)), np.ones((9, 8)), r"the ground truth is \[9, 9\] and the valid mask \[9, 8\], expected one"),
        (np.ones(9), np.ones(9), r"expected one \[H, W\]"),
        (np.zeros((9, 9)), np.ones((9, 9)), "the ground truth is 0.0 at a valid pixel"),
        (np.full((9, 9), np.nan), np.ones((9, 9)), "the ground truth is nan at a valid pixel"),
        (np.full((9, 9), np.inf), np.ones((9, 9)), "the ground truth is inf at a valid pixel"),
    ],
)
def test_what_has_no_regions_is_refused_in_one_line(truth, valid, message):
    with pytest.raises(SpaceClipError, match=message) as refusal:
        boundary_regions(truth, valid)
    assert "\n" not in str(refusal.value)
