import numpy as np
import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import mean_depth_map


def test_the_map_is_the_mean_over_known_pixels(make_cache):
    cache = make_cache(2, seed=0)
    cache.depths = [np.array([[2, 0, 0], [4, 5, 6]], "f4"), np.array([[4, 3, 0], [0, 7, 6]], "f4")]
    overall = (2 + 4 + 3 + 4 + 5 + 7 + 6 + 6) / 8
    expected = np.array([[3, 3, overall], [4, 6, 6]], "f4")
    found = mean_depth_map(cache)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_only_the_rows_asked_for_count(make_cache):
    cache = make_cache(4, seed=0)
    np.testing.assert_allclose(mean_depth_map(cache, [1, 3]), (cache.depths[1] + cache.depths[3]) / 2, rtol=1e-6)


def test_a_split_without_known_depth_is_refused(make_cache):
    cache = make_cache(2, seed=0)
    cache.depths = [np.zeros((3, 3), "f4")] * 2
    with pytest.raises(SpaceClipError, match="the 2 training targets have no known pixel"):
        mean_depth_map(cache)
