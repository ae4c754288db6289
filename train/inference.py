"""The decoder as inference needs it: depth and nothing else, BatchNorm folded, kernels joined once."""

from collections.abc import Mapping
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .blocks import Dropout, NormalisedConv, Residual, SemanticBlock, StructuralBlock, Upsample, upsampled
from .decoder import DepthDecoder
from .precision import resolve_precision


class InferenceDecoder(nn.Module):
    """A frozen decoder that gives depth alone; `for_inference` makes it.

    It computes in its own precision, whatever autocast surrounds it, and training mode changes nothing. It can be
    compiled and exported: what it returns is a plain tensor.

    Attributes:
        layers: The hidden states that it reads, ascending.
        dtype: Of the arithmetic; only the last convolution, which gives metres, is in that of the weights it had.
    """

    def __init__(self, decoder: DepthDecoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers, self.dtype, self._decoder = decoder.settings.layers, dtype, decoder

    def forward(
        self, states: Mapping[int, Tensor], pooled: Tensor, output_size: tuple[int, int] | None = None
    ) -> Tensor:
        """Depth [B, 1, H, W] in metres; see `DepthDecoder.forward`."""
        with torch.autocast(pooled.device.type, enabled=False):
            return self._decoder(states, pooled, output_size, auxiliary=()).depth


def for_inference(decoder: DepthDecoder, precision: str = "float32") -> InferenceDecoder:
    """A copy of a decoder that gives the depth of its evaluation mode, up to rounding, in less time.

    Args:
        decoder: Stays as it is, on its device.
        precision: Of the arithmetic, as in training; a decoder in float64 stays in it.

    Raises:
        SpaceClipError: The precision is unknown, or the device lacks it.
    """
    weight = next(decoder.parameters())
    dtype = weight.dtype if weight.dtype is torch.float64 else resolve_precision(precision, weight.device)
    # Folded in float64, so that it rounds once, and on the CPU, since not every device has that.
    folded = deepcopy(decoder).to("cpu", torch.float64).eval().requires_grad_(False)
    folded.auxiliary_heads = nn.ModuleList()
    for block in folded.modules():
        if isinstance(block, NormalisedConv):
            _fold(block, "0", "1")
        elif isinstance(block, Residual):
            _fold(block, "conv1", "norm1")
            _fold(block, "conv2", "norm2")
            block.dropout = Dropout(0)
    for block in folded.modules():
        if isinstance(block, StructuralBlock | SemanticBlock) and block.upsample.is_joined:
            block.register_module("upsample", _Joined(block.upsample))
    folded.to(weight.device, dtype).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    folded.head.predict = deepcopy(decoder.head.predict).requires_grad_(False)
    return InferenceDecoder(folded, dtype).eval()


def _fold(block: nn.Module, conv: str, norm: str) -> None:
    """Fold one BatchNorm into the convolution before it."""
    both = cast(tuple[nn.Conv2d, nn.BatchNorm2d], (block.get_submodule(conv), block.get_submodule(norm)))
    block.register_module(conv, fuse_conv_bn_eval(*both))
    block.register_module(norm, nn.Identity())


class _Joined(nn.Module):
    """What an `Upsample` with its BatchNorm folded computes."""

    def __init__(self, upsample: Upsample) -> None:
        super().__init__()
        self.kernel, self.bias = (nn.Buffer(one) for one in upsample.joined())

    def forward(self, features: Tensor) -> Tensor:
        return upsampled(features, self.kernel, self.bias).relu_()
