"""Initial weights: one's own or, so that decoders of unlike shapes can be compared, those of another where they fit.

Source: the control of the authors' later study, in which the decoder without the structural path starts from the
tensors of the whole one.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from .decoder import Channels, DecoderSettings, DepthDecoder, Size


class StartSettings(BaseModel):
    """The shape of the decoder whose initial weights are taken where they fit; what is not set is as one's own.

    Attributes:
        channels: As of `DecoderSettings`, like all others: those that decide which weights there are.
        film: Likewise.
        film_hidden: Likewise.
        structural: Likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Channels | None = None
    film: bool | None = None
    film_hidden: Size | None = None
    structural: bool | None = None

    @classmethod
    def between(cls, own: DecoderSettings, other: DecoderSettings) -> Self:
        """What a decoder must set to start from the weights of another one."""
        shapes = ((name, getattr(other, name), getattr(own, name)) for name in cls.model_fields)
        return cls(**{name: theirs for name, theirs, ours in shapes if theirs != ours})

    @property
    def given(self) -> dict[str, Any]:
        """What is set, as plain JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    def of(self, own: DecoderSettings) -> DecoderSettings:
        """The decoder that one of these settings starts from."""
        return own.model_copy(update=self.model_dump(exclude_none=True))


class Shared(NamedTuple):
    """What two decoders have in common of a weight.

    Attributes:
        name: In both.
        own: The part of the one's.
        other: The part of the other's, of the same shape.
        whole: Whether that is all of the one's.
    """

    name: str
    own: Tensor
    other: Tensor
    whole: bool


def initial_decoder(settings: DecoderSettings, start: StartSettings, seed: int) -> DepthDecoder:
    """A decoder before its first step, on the CPU; nothing is drawn from PyTorch's global random stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = DepthDecoder(settings)
        if start.given:
            torch.manual_seed(seed)
            with torch.no_grad():
                for shared in shared_weights(decoder, DepthDecoder(start.of(settings))):
                    shared.own.copy_(shared.other)
    return decoder


def shared_weights(own: DepthDecoder, other: DepthDecoder) -> Iterator[Shared]:
    """The weights of the same name and shape.

    Of the convolutions that fuse the upsampled map, the semantic and the structural skip (in this order) it is the
    leading input channels that both have.
    """
    others = dict(other.named_parameters())
    for name, mine in own.named_parameters():
        theirs, whole = others.get(name), True
        if theirs is not None and name.startswith("semantic_blocks.") and ".fuse.0." in name:
            inputs = min(mine.shape[1], theirs.shape[1])
            whole = inputs == mine.shape[1]
            mine, theirs = mine[:, :inputs], theirs[:, :inputs]
        if theirs is not None and mine.shape == theirs.shape:
            yield Shared(name, mine, theirs, whole)
