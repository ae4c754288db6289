"""A frozen encoder: what it offers, and in what precision it computes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ...cache import SpaceClipError
from .device import use_ieee_float32

RGB = tuple[float, float, float]

RANDOM = "random:"
HOST = "host:"


@dataclass(frozen=True)
class Features:
    """What the encoder says of a batch.

    Attributes:
        states: Patch tokens of each hidden state asked for, [B, P, C], without the class token: views of what was
            computed, in the precision that it was computed in.
        pooled: Global vector, [B, C] float32.
    """

    states: dict[int, Tensor]
    pooled: Tensor


class Backbone(Protocol):
    """A frozen encoder that computes features and never changes; a family of encoders is a class of this kind.

    Attributes:
        identity: Name, revision, weights hash and precision, as the store's fingerprint wants them.
        device: Where it computes.
        depth: Number of blocks, and so the highest hidden state.
        patches: Patch tokens P.
        channels: Width C.
        input_size: Side of the square input in pixels.
        mean: Of the RGB channels, 0 to 1, which the encoder takes off.
        std: Of the RGB channels, by which it divides then.
    """

    identity: dict[str, Any]
    device: torch.device
    depth: int
    patches: int
    channels: int
    input_size: int
    mean: RGB
    std: RGB

    def check_layers(self, layers: Sequence[int]) -> None:
        """Refuse hidden states that the encoder does not have.

        Raises:
            SpaceClipError: A layer is outside 0 to `depth`.
        """
        ...

    def encode(self, images: Tensor, layers: Sequence[int]) -> Features:
        """Features of a batch.

        Args:
            images: [B, 3, S, S] uint8 RGB of the encoder's input size.
            layers: Hidden states to keep.
        """
        ...


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type that a precision (see `BackboneSettings`) means on a device.

    Raises:
        SpaceClipError: It is unknown.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision == "auto":
        # The store keeps float16: bfloat16 would throw away three of its ten bits where float16 is as fast.
        if device.type == "cuda":
            return torch.float16
        precision = "bfloat16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "float32"
    if precision not in known:
        raise SpaceClipError(f"precision: {precision!r} is unknown; choose auto, {', '.join(known)}")
    if precision == "float32":
        use_ieee_float32()
    return known[precision]
