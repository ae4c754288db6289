"""A decoder from weights of any origin, which are held against its shape before anything of their size is made."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from ..cache import SpaceClipError
from .decoder import DecoderSettings, DepthDecoder

_SHOWN = 3
_LONGEST = 80
_REAL = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def build_decoder(
    settings: DecoderSettings,
    weights: Mapping[str, Tensor],
    where: str,
    remedy: str,
    names: Callable[[str], str] = str,
) -> DepthDecoder:
    """Build a decoder, in evaluation mode, with the given weights.

    Args:
        settings: Its shape.
        weights: All of its weights and buffers, and nothing else.
        where: What holds them, for the message.
        remedy: What to do where they do not fit, for the message.
        names: The name in `weights` of a weight of `DepthDecoder`.

    Raises:
        SpaceClipError: Weights are missing, unexpected, of another shape or type, or not finite.
    """
    with torch.device("meta"):
        wanted = {names(name): tensor for name, tensor in DepthDecoder(settings).state_dict().items()}

    def refuse(fault: str, found: Collection[str], remedy: str = remedy) -> None:
        if found:
            shown = ", ".join(map(plain, list(found)[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
            raise SpaceClipError(f"{where} {fault} {len(found)} weights ({shown}); {remedy}")

    refuse("misses", [name for name in wanted if name not in weights])
    refuse("has unexpected", [name for name in weights if name not in wanted])
    refuse(
        "has mis-shaped",
        [
            f"{name} {list(weights[name].shape)} instead of {list(tensor.shape)}"
            for name, tensor in wanted.items()
            if weights[name].shape != tensor.shape
        ],
    )
    refuse("has mis-typed", [name for name, tensor in wanted.items() if not _is_like(weights[name], tensor)])
    damaged = [name for name in wanted if not weights[name].isfinite().all()]
    refuse("has non-finite", damaged, "no depth comes of such: take another checkpoint, or train it again")
    decoder = DepthDecoder(settings)
    decoder.load_state_dict({name: weights[names(name)] for name in decoder.state_dict()})
    return decoder.eval()


def plain(name: str) -> str:
    r"""A name that a file gives, for a message: in one line, and not long.

    >>> plain("head.bias"), plain("a\nb")
    ('head.bias', 'a\\nb')
    """
    return ascii(name)[1:-1][:_LONGEST]


def _is_like(found: Tensor, wanted: Tensor) -> bool:
    """Whether it holds plain numbers of the same kind."""
    kinds = _REAL if wanted.is_floating_point() else {wanted.dtype}
    return found.dtype in kinds and found.layout is torch.strided and found.device.type == "cpu"
