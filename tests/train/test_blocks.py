"""Blocks that take short cuts against the same arithmetic written out."""

import pytest
import torch
import torch.nn.functional as F
from spaceclip.train.blocks import Dropout, StructuralBlock, Upsample
from torch.utils.flop_counter import FlopCounterMode


def counted(work):
    """What `work` gives, and the floating-point operations of its matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    return found, counter.get_total_flops()


def gradients(found, block, *inputs):
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(found.shape, generator=draw, dtype=found.dtype)
    return torch.autograd.grad((found * weight).sum(), [*block.parameters(), *inputs])


def made_up(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize(("inputs", "outputs", "height", "width", "share"), [
    (16, 16, 7, 9, 0.6), (16, 8, 7, 9, 0.9), (24, 8, 7, 9, 1.0), (8, 8, 1, 2, None),
])  # fmt: skip
def test_upsampling_is_its_two_convolutions_for_less_arithmetic(inputs, outputs, height, width, share):
    block, features = Upsample(inputs, outputs).double(), made_up(8, inputs, height, width)
    found, ours = counted(lambda: block(features))
    wanted, plain = counted(lambda: block.refine(block.expand(features)))
    torch.testing.assert_close(found, wanted)
    for one, other in zip(gradients(found, block, features), gradients(wanted, block, features), strict=True):
        torch.testing.assert_close(one, other)
    if share is not None:
        assert ours <= share * plain


@pytest.mark.parametrize("side", [1, 2, 6])
def test_the_structural_path_is_what_is_written_for_less_arithmetic(side):
    block, features, skip = StructuralBlock(24, 8).double(), made_up(2, 24, 12, 12), made_up(2, 8, side, side)
    found, ours = counted(lambda: block(features, skip))

    def written():
        large = block.upsample(features)
        resized = F.interpolate(skip, size=(24, 24), mode="bilinear", align_corners=False)
        return block.fuse(torch.cat((large, resized), dim=1))

    wanted, plain = counted(written)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        gradients(found, block, features, skip), gradients(wanted, block, features, skip), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert ours < 0.9 * plain


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_zeroes_its_share_and_scales_the_rest(memory_format):
    dropout = Dropout(0.1).train()
    dropout.generator = torch.Generator().manual_seed(0)
    features = torch.ones(8, 7, 33, 61).contiguous(memory_format=memory_format)
    found = dropout(features)
    assert (found == 0).float().mean().item() == pytest.approx(0.1, abs=5e-3)
    torch.testing.assert_close(found[found != 0], torch.full_like(found[found != 0], 1 / 0.9))
    assert not torch.equal(dropout(features), found)
    dropout.generator.manual_seed(0)
    assert torch.equal(dropout(features), found)
    assert torch.equal(dropout.eval()(features), features)


def test_dropout_of_nearly_all_keeps_the_mean():
    dropout = Dropout(0.99995).train()
    dropout.generator = torch.Generator().manual_seed(0)
    assert dropout(torch.ones(2**24)).mean().item() == pytest.approx(1.0, abs=0.2)
