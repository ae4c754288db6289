import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spaceclip.extract.preprocess import prepare_depth, prepare_image

RNG = np.random.default_rng(11)


def cubic_weights(old: int, new: int) -> np.ndarray:
    """Rows of the antialiased bicubic resize (a = -0.5), in float64, written out from its definition."""
    ratio = max(old / new, 1.0)
    centres = (np.arange(new) + 0.5) * old / new
    distance = np.abs((np.arange(old)[None] + 0.5 - centres[:, None]) / ratio)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = cubic_weights(image.shape[0], height), cubic_weights(image.shape[1], width)
    planes = rows @ image.astype(np.float64).transpose(2, 0, 1) @ columns.T
    return np.clip(planes.transpose(1, 2, 0), 0, 255)


def test_whole_frame_is_resized_bicubically_to_the_input():
    image = RNG.integers(60, 190, (375, 1242, 3), dtype=np.uint8)
    prepared = prepare_image(image, None)
    assert prepared.shape == (224, 224, 3)
    assert prepared.dtype == np.uint8
    np.testing.assert_allclose(prepared.astype(float), resized(image, 224, 224), atol=1.5)


def test_target_size_is_a_step_of_its_own():
    image = RNG.integers(0, 256, (120, 90, 3), dtype=np.uint8)
    step = np.asarray(Image.fromarray(image).resize((44, 22), Image.Resampling.BICUBIC))
    expected = np.asarray(Image.fromarray(step).resize((32, 32), Image.Resampling.BICUBIC))
    two_steps = prepare_image(image, (22, 44), input_size=32)
    np.testing.assert_array_equal(two_steps, expected)
    assert not np.array_equal(two_steps, prepare_image(image, None, input_size=32))


def test_sizes_that_already_fit_change_nothing():
    image = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare_image(image, (32, 32), input_size=32), image)


@given(
    old=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    new=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_depth_takes_the_floor_of_the_source_position(old, new):
    depth = np.arange(old[0] * old[1], dtype=np.float32).reshape(old)
    prepared = prepare_depth(depth, new)
    assert prepared.shape == new
    for row, column in [(0, 0), (new[0] - 1, new[1] - 1), (new[0] // 2, new[1] // 3)]:
        assert prepared[row, column] == depth[row * old[0] // new[0], column * old[1] // new[1]]


@pytest.mark.parametrize("old", [(375, 1242), (370, 1226), (374, 1238), (376, 1241), (427, 561), (480, 640)])
@pytest.mark.parametrize("new", [(352, 704), (480, 640), (352, 1216)])
def test_depth_resize_agrees_with_torch_nearest(old, new):
    depth = RNG.uniform(0, 80, old).astype(np.float32)
    reference = torch.nn.functional.interpolate(torch.from_numpy(depth)[None, None], size=new, mode="nearest")
    np.testing.assert_array_equal(prepare_depth(depth, new), reference[0, 0].numpy())


def test_depth_keeps_its_size_without_a_target():
    depth = RNG.uniform(0, 80, (7, 9)).astype(np.float32)
    np.testing.assert_array_equal(prepare_depth(depth, None), depth)
    np.testing.assert_array_equal(prepare_depth(depth, (7, 9)), depth)
