import numpy as np
import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import predict
from torch.nn import functional


def reference(decoder, cache, index, *, flip):
    """One image at a time: resize both predictions to the truth's size, then average, as the method says."""
    decoder.eval()
    size = cache.ground_truth(index).shape
    maps = []
    for view in ("plain", "flipped") if flip else ("plain",):
        states = {layer: torch.from_numpy(state).float() for layer, state in cache.states([index], view).items()}
        with torch.no_grad():
            depth = decoder(states, torch.from_numpy(cache.pooled([index], view))).depth
        resized = functional.interpolate(depth, size=size, mode="bilinear", align_corners=False)[0, 0]
        maps.append(resized.flip(-1) if view == "flipped" else resized)
    return torch.stack(maps).mean(0).numpy()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batches_give_what_each_image_alone_gives(decoder, make_cache, flip, batch_size):
    cache = make_cache(5, seed=1)
    found = list(predict(decoder, cache, flip_average=flip, precision="float32", batch_size=batch_size))
    assert [row.sample_id for row in found] == cache.sample_ids
    assert [row.scene for row in found] == cache.scenes
    for index, row in enumerate(found):
        assert row.row == index
        assert row.truths[None] is cache.truths[index]
        assert list(row.depths) == (["plain", "averaged"] if flip else ["plain"])
        for name, depth in row.depths.items():
            assert depth.dtype == torch.float32
            expected = reference(decoder, cache, index, flip=name == "averaged")
            resized = functional.interpolate(depth[None, None], expected.shape, mode="bilinear", align_corners=False)
            np.testing.assert_allclose(resized[0, 0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_flip_averaging_changes_the_prediction(decoder, make_cache):
    found = next(predict(decoder, make_cache(1, seed=1), flip_average=True, precision="float32"))
    assert (found.depths["plain"] - found.depths["averaged"]).abs().max() > 1e-3


def test_rows_come_in_the_order_asked_for(decoder, make_cache):
    cache = make_cache(4, seed=2)
    found = predict(decoder, cache, [3, 0], flip_average=False, precision="float32", batch_size=1)
    assert [row.sample_id for row in found] == ["sample_3", "sample_0"]


def test_no_rows_give_no_predictions(decoder, make_cache):
    assert list(predict(decoder, make_cache(4, seed=2), [], flip_average=True)) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_decoder_keeps_its_mode_its_statistics_and_the_gradients_setting(decoder, make_cache, training):
    decoder.train(training)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    for _ in predict(decoder, make_cache(3, seed=3), flip_average=True, precision="float32", batch_size=2):
        assert decoder.training is training
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert all(torch.equal(value, before[name]) for name, value in decoder.state_dict().items())


def test_flip_averaging_without_a_flipped_view_is_refused(decoder, make_cache):
    cache = make_cache(2, seed=4, views=("plain",))
    with pytest.raises(SpaceClipError, match="the store holds the views plain, expected a flipped one"):
        next(predict(decoder, cache, flip_average=True))


def test_a_fault_while_reading_reaches_the_caller(decoder, make_cache):
    cache = make_cache(3, seed=4)
    cache.truths = cache.truths[:2]
    with pytest.raises(IndexError):
        list(predict(decoder, cache, flip_average=False, batch_size=1))


def test_lower_precision_is_close_and_comes_back_as_float32(decoder, make_cache):
    cache = make_cache(2, seed=8)
    exact, coarse = (
        torch.stack([row.depths["averaged"] for row in predict(decoder, cache, flip_average=True, precision=precision)])
        for precision in ("float32", "bfloat16")
    )
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().max() < 0.05 * exact.max()


def test_an_unknown_precision_is_refused(decoder, make_cache):
    with pytest.raises(SpaceClipError, match="float8"):
        next(predict(decoder, make_cache(1, seed=8), flip_average=False, precision="float8"))
