import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import image_free_depths


class Targets:
    """The training targets of a store."""

    def __init__(self, depths):
        self.depths = [np.asarray(depth, np.float32) for depth in depths]
        self.depth_size = (len(self.depths[0]), len(self.depths[0][0]))

    def __len__(self):
        return len(self.depths)

    def depth(self, index):
        return self.depths[index]


def constants(found):
    return {name.partition(" constant")[0]: float(depth[0, 0]) for name, depth in found.items() if "constant" in name}


def test_the_maps_are_mean_and_median_over_the_images_that_know_a_pixel():
    depths = [[[2, 0, 0], [4, 5, 6]], [[4, 3, 0], [0, 7, 6]], [[3, 9, 0], [0, 7, 1]]]
    found = image_free_depths(Targets(depths), 0.001, 8)  # 9 m is out of range
    known = np.array([2, 4, 3, 3, 4, 5, 7, 7, 6, 6, 1])
    np.testing.assert_allclose(found["mean map"], [[3, 3, known.mean()], [4, 19 / 3, 13 / 3]], rtol=1e-6)
    median = constants(found)["median"]
    np.testing.assert_allclose(found["median map"], [[3, 3, median], [4, 7, 6]], rtol=1 / 64)
    assert found["mean map"].dtype == found["median map"].dtype == np.float32


def test_the_median_map_of_large_targets_is_of_cells():
    draw = np.random.default_rng(0)
    depths = draw.uniform(1, 9, (9, 300, 256)).astype(np.float32) * np.linspace(0.5, 1, 256, dtype=np.float32)
    found = image_free_depths(Targets(depths), 0.001, 10)["median map"]
    assert found.shape == (128, 128)
    for row, column in ((0, 0), (64, 20), (127, 127)):
        inside = np.arange(300) * 128 // 300 == row
        assert found[row, column] == pytest.approx(np.median(depths[:, inside, 2 * column : 2 * column + 2]), rel=0.03)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 6), spread=st.floats(0.05, 1.2))
def test_the_constants_are_the_median_and_the_one_of_the_lowest_abs_rel(seed, images, spread):
    draw = np.random.default_rng(seed)
    depths = np.exp(draw.normal(1, spread, (images, 12, 10))).astype(np.float32)
    depths[draw.random(depths.shape) < 0.3] = 0
    depths[:, 0, 0] = 2
    found = constants(image_free_depths(Targets(depths), 0.001, 80))
    valid = [depth[(depth > 0.001) & (depth < 80)].astype(np.float64) for depth in depths]

    def abs_rel(constant):
        return np.mean([np.mean(np.abs(constant - depth) / depth) for depth in valid])

    # A sum of |c - g| / g is lowest at one of the depths.
    lowest = min(map(abs_rel, np.unique(np.concatenate(valid))))
    assert abs_rel(found["AbsRel"]) <= lowest * 1.0005

    def below(constant):
        return np.mean([np.mean(depth <= constant) for depth in valid])

    assert below(found["median"] * 0.9995) <= 0.5 <= below(found["median"] * 1.0005)


def test_memory_does_not_grow_with_the_images_and_each_is_read_once():
    reads = []

    class Counted(Targets):
        def __len__(self):
            return 3000

        def depth(self, index):
            reads.append(index)
            return self.depths[index % 2]

    found = image_free_depths(Counted(np.random.default_rng(0).uniform(1, 9, (2, 8, 8))), 0.001, 10)
    assert sorted(reads) == list(range(3000))
    assert found["mean map"].shape == (8, 8)


def test_only_the_rows_asked_for_count(make_cache):
    cache = make_cache(4, seed=0)
    found = image_free_depths(cache, 0.001, 10, [1, 3])["mean map"]
    np.testing.assert_allclose(found, (cache.depths[1] + cache.depths[3]) / 2, rtol=1e-6)


def test_a_split_without_depth_in_range_is_refused(make_cache):
    cache = make_cache(2, seed=0)
    with pytest.raises(SpaceClipError, match="the 2 training targets have no pixel from 20 to 80 m"):
        image_free_depths(cache, 20, 80)
