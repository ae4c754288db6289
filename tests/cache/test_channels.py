import numpy as np
import pytest
from spaceclip.cache import FeatureCache, StoreError, StoreWriter, channel_statistics


@pytest.fixture
def outlier(tmp_path, make_spec, make_block):
    """A store whose channel 4 is far out and whose channel 2 is often zero, and all its rows."""
    spec, blocks = make_spec(), []
    writer = StoreWriter(tmp_path / "store.zarr", spec, {})
    for shard in writer.pending:
        block = make_block(spec, shard)
        block["layers/3"][..., 4] = block["layers/3"][..., 4] * 0.1 - 600
        block["layers/3"][:, 0, :, 2] = 0
        blocks.append(block)
        writer.write(shard, block)
    return FeatureCache.open(writer.path), np.concatenate([block["layers/3"] for block in blocks]).astype(np.float64)


def test_statistics_agree_with_plain_numpy(outlier):
    cache, rows = outlier
    read: list[int] = []
    found = channel_statistics(cache, 3, read.append)
    over = (0, 1, 2)
    np.testing.assert_allclose(found.mean, rows.mean(over), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.std, rows.std(over), rtol=1e-8)
    np.testing.assert_array_equal(found.min, rows.min(over))
    np.testing.assert_array_equal(found.max, rows.max(over))
    np.testing.assert_array_equal(found.zeros, (rows == 0).mean(over))
    assert found.zeros[2] == 0.5
    assert sum(read) == rows.size * 2


def test_the_extremes_are_the_channels_furthest_from_zero(outlier):
    cache, rows = outlier
    found = channel_statistics(cache, 3).extremes(2)
    assert found == np.argsort(-np.abs(rows).max((0, 1, 2)))[:2].tolist()
    assert found[0] == 4


def test_a_shard_that_is_gone_is_no_shard_of_zeros(outlier):
    cache, _ = outlier
    (cache.path / "layers/3/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match="the file is missing"):
        channel_statistics(cache, 3)


def test_a_layer_that_is_not_there_is_named(outlier):
    with pytest.raises(StoreError, match=r"lacks the hidden states \[9\]"):
        channel_statistics(outlier[0], 9)
