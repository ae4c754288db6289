"""What is exported: modules from tensors to a tensor, with the inputs that they are traced and checked with."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from typing_extensions import override

from ...extract import Features
from ...train import for_inference
from ..prediction import SpaceClip


class Graph(nn.Module):
    """Depth [B, h, w] in metres of some inputs.

    Args:
        model: What is exported.

    Attributes:
        names: Of the inputs.
        about: What they are.
    """

    names: tuple[str, ...]
    about: dict[str, str]

    def __init__(self, model: SpaceClip) -> None:
        super().__init__()
        self.decoder, self._model = for_inference(model.decoder), model

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        found = self.features(*inputs)
        return self.decoder(found.states, found.pooled)[:, 0]

    def reference(self, *inputs: Tensor) -> Tensor:
        """What it must compute: with the decoder as it was trained in place of the one for inference."""
        found = self.features(*inputs)
        return self._model.decoder(found.states, found.pooled).depth[:, 0]

    @abstractmethod
    def features(self, *inputs: Tensor) -> Features:
        """What the decoder reads."""

    @abstractmethod
    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Random inputs of a batch."""


class DecoderGraph(Graph):
    """The decoder alone, from hidden states on."""

    def __init__(self, model: SpaceClip) -> None:
        super().__init__(model)
        self.names = ("pooled", *(f"hidden_state_{layer}" for layer in self.decoder.layers))
        channels, tokens = model.decoder.settings.hidden_size, model.info.patches or model.backbone.patches
        self._shapes = ((channels,), *[(tokens, channels)] * len(self.decoder.layers))
        self.about = {
            "pooled": f"[B, {channels}] float32: the class token after the encoder's last LayerNorm",
            "hidden_state_<i>": f"[B, {tokens}, {channels}] float32: patch tokens without the class token, row by row; "
            "0 is the embedding after the first LayerNorm, i the output of block i",
        }

    @override
    def features(self, *inputs: Tensor) -> Features:
        pooled, *states = inputs
        return Features(dict(zip(self.decoder.layers, states, strict=True)), pooled)

    @override
    def example(self, batch: int) -> tuple[Tensor, ...]:
        draw = torch.Generator().manual_seed(batch)
        return tuple(torch.randn(batch, *shape, generator=draw) for shape in self._shapes)


class ImageGraph(Graph):
    """Encoder and decoder, from pixels on; normalisation is inside."""

    names = ("image",)

    def __init__(self, model: SpaceClip) -> None:
        super().__init__(model)
        side = model.backbone.input_size
        self._shape = (side, side, 3)
        sizes = [f"{height} x {width}" for height, width in filter(None, (model.target_size, (side, side)))]
        how = f"the whole frame resized to {' and then '.join(sizes)}, bicubic"
        self.about = {"image": f"[B, {side}, {side}, 3] uint8 RGB: {how}"}

    @override
    def features(self, *inputs: Tensor) -> Features:
        return self._model.backbone.encode(inputs[0].permute(0, 3, 1, 2), self.decoder.layers)

    @override
    def example(self, batch: int) -> tuple[Tensor, ...]:
        draw = torch.Generator().manual_seed(batch)
        return (torch.randint(0, 256, (batch, *self._shape), generator=draw, dtype=torch.uint8),)
