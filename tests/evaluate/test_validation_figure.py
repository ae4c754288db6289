"""The figure of validation images shows what validation predicted, in colours that mean metres."""

import io

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image
from spaceclip.evaluate import shown_rows, validation_figure


@pytest.fixture
def cache(make_cache):
    cache = make_cache(5, seed=1)
    cache.usable = np.array([0, 1, 2, 4])
    cache.about["data"] = "made up"
    return cache


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def holds(image, colour):
    """How many pixels of an image have a colour."""
    return int((np.abs(image - np.round(255 * np.array(colour[:3]))).max(-1) <= 1).sum())


def test_the_rows_are_always_the_same_and_spread_over_those_that_can_be_used(cache):
    assert shown_rows(cache, 3) == [0, 2, 4]
    assert shown_rows(cache, 9) == [0, 1, 2, 4]
    assert shown_rows(cache, 0) == []


def test_depth_and_error_are_in_the_colours_of_their_scales(cache, protocol):
    protocol = protocol.model_copy(update={"crop": "none"})
    cache.truths = [np.full((40, 50), metres, np.float32) for metres in (2, 0, 4, 0, 8)]
    drawn = pixels(validation_figure(cache, {0: torch.full((4, 5), 4.0), 2: torch.full((4, 5), 4.0)}, protocol, "x"))
    depth, error = colormaps["turbo_r"], colormaps["magma"]
    panel = 300 * 240
    # Both truths span the scale, 2 to 4 m; the first prediction is twice its truth, the second is right.
    assert panel <= holds(drawn, depth(0.0)) < 1.1 * panel
    assert 3 * panel <= holds(drawn, depth(1.0)) < 3.1 * panel
    assert holds(drawn, error(1.0)) >= panel
    assert holds(drawn, error(0.0)) >= panel


def test_images_without_a_pixel_to_score_are_left_out(cache, protocol):
    protocol = protocol.model_copy(update={"crop": "none"})
    cache.truths = [np.full((40, 50), metres, np.float32) for metres in (2, 0, 0, 0, 0)]
    maps = {row: torch.full((4, 5), 3.0) for row in (0, 2)}
    one = pixels(validation_figure(cache, maps, protocol, "x"))
    assert len(one) == len(pixels(validation_figure(cache, {0: maps[0]}, protocol, "x")))
    assert validation_figure(cache, {2: maps[2]}, protocol, "x") is None
