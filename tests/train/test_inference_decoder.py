"""The decoder for inference against the one that it is made of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.train import DecoderSettings, DepthDecoder, autocast, for_inference
from torch import nn

WIDE = DecoderSettings(hidden_size=16, channels=(16, 12, 8, 8), film_hidden=8)


def trained(chosen=WIDE, dtype=torch.float32, seed=0):
    """A decoder whose BatchNorms have seen something, in evaluation mode."""
    torch.manual_seed(seed)
    decoder = DepthDecoder(chosen)
    for module in decoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_()  # pyright: ignore[reportOptionalMemberAccess]
            module.running_var.uniform_(0.5, 2)  # pyright: ignore[reportOptionalMemberAccess]
    return decoder.eval().to(dtype)


def inputs(batch=2, grid=3, channels=16, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    states = {
        layer: torch.randn(batch, grid * grid, channels, generator=draw).to(dtype) for layer in (0, 1, 2, 3, 6, 9, 12)
    }
    return states, torch.randn(batch, channels, generator=draw).to(dtype)


@pytest.fixture(scope="module")
def decoder():
    return trained()


# Widths of both kinds of upsampling: two convolutions, and the two joined.
widths = st.tuples(*[st.sampled_from([2, 4, 12, 40])] * 4)


@settings(max_examples=12)
@given(widths, st.booleans(), st.booleans(), st.integers(1, 3), st.integers(1, 4), st.none() | st.just((11, 30)))
def test_depth_is_that_of_evaluation_mode(channels, film, structural, batch, grid, size):
    chosen = DecoderSettings(hidden_size=6, channels=channels, film_hidden=4, film=film, structural=structural)
    double = trained(chosen, torch.float64)
    states, pooled = inputs(batch, grid, 6, torch.float64)
    with torch.no_grad():
        expected = double(states, pooled, size).depth
        torch.testing.assert_close(for_inference(double)(states, pooled, size), expected, rtol=1e-9, atol=1e-9)


def test_depth_in_float32_is_the_same_to_a_hundred_thousandth(decoder):
    with torch.no_grad():
        expected = decoder(*inputs()).depth
        found = for_inference(decoder)(*inputs())
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert expected.std() > 0.01


def test_bfloat16_is_as_near_to_float32_as_under_autocast(decoder):
    with torch.no_grad():
        exact = decoder(*inputs()).depth
        with autocast("bfloat16", torch.device("cpu")):
            rounded = decoder(*inputs()).depth
        found = for_inference(decoder, "bfloat16")(*inputs())
    assert found.dtype == torch.float32
    assert (found - exact).abs().mean() < 1.5 * (rounded - exact).abs().mean()


def test_what_inference_does_not_need_is_left_out_and_the_decoder_is_as_it_was(decoder):
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    found = for_inference(decoder)
    assert not [module for module in found.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not [name for name, _ in found.named_parameters() if "auxiliary" in name]
    assert not any(weight.requires_grad for weight in found.parameters())
    assert all(torch.equal(value, before[name]) for name, value in decoder.state_dict().items())
    assert all(weight.requires_grad for weight in decoder.parameters())


def test_neither_training_mode_nor_autocast_around_it_changes_a_bit(decoder):
    found = for_inference(decoder)
    with torch.no_grad():
        expected = found(*inputs())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(found.train()(*inputs()), expected)


def test_it_can_be_exported_for_batches_of_any_size(decoder):
    found = for_inference(decoder)
    states, pooled = inputs()
    batch = torch.export.Dim("batch", min=1, max=64)
    sizes = {"states": {layer: {0: batch} for layer in states}, "pooled": {0: batch}}
    program = torch.export.export(found, (states, pooled), dynamic_shapes=sizes)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs(5)), found(*inputs(5)), rtol=1e-5, atol=1e-5)
