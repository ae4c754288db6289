"""A frozen encoder: how it is named, what it offers, and how it is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from ...cache import SpaceClipError
from .device import use_ieee_float32
from .embedded import EMBEDDED, embedded_folder, require_unaltered

RGB = tuple[float, float, float]

RANDOM = "random:"
HOST = "host:"
_EMBEDDED_REVISION = "comes with SpaceCLIP"

# The paper's encoder, pinned to the commit that its numbers belong to.
PINNED = {"openai/clip-vit-base-patch16": "57c216476eefef5ab752ec549e440a49ae4ae5f3"}


class BackboneSettings(BaseModel):
    """Which frozen encoder, and how it computes.

    Attributes:
        name: Hub id, local folder, `embedded:clip-tiny` for the small CLIP that comes with the package,
            `random:<any of these, or a config.json>` for seeded random weights, or `host:PKG:CALLABLE` for the tower of
            a host's own, which that callable makes.
        revision: Commit on the hub; the default model has a pinned one.
        seed: Of random weights.
        precision: `float32`, `bfloat16`, `float16`, or `auto`: float16 on CUDA, bfloat16 on a CPU that has it,
            else float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "openai/clip-vit-base-patch16"
    revision: str | None = None
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def expected_identity(self) -> dict[str, Any]:
        """What these settings say of the identity of the features that they make; an encoder at a path is loaded."""
        found: dict[str, Any] = {"name": _known_as(self.name)}
        if self.name.startswith(RANDOM):
            found["revision"] = _random_revision(self.seed)
        elif self.name.startswith(EMBEDDED):
            found["revision"] = _EMBEDDED_REVISION
        elif not Path(self.name).is_dir() and (revision := self.revision or PINNED.get(self.name)):
            found["revision"] = revision
        if self.precision != "auto":
            found["precision"] = self.precision
        # What lies at a path of this machine may be another encoder by now; a commit on the hub is always the same.
        if self.name.startswith(HOST) or Path(embedded_folder(self.name.removeprefix(RANDOM))).exists():
            loaded = load_backbone(self.name, seed=self.seed, precision="float32").identity
            found |= {"name": loaded["name"], "weights": loaded["weights"]}
        return found


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


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    seed: int = 0,
    precision: str = "auto",
    device: torch.device | str = "cpu",
) -> Backbone:
    """Load an image encoder alone; a text tower is never built.

    Args:
        name: Hub id, local folder, `embedded:clip-tiny`, `random:<any of these, or a config.json>`, or
            `host:PKG:CALLABLE`, which imports and calls that.
        revision: Commit on the hub.
        seed: Of random weights.
        precision: Compute precision, see `BackboneSettings`.
        device: Where it computes.

    Raises:
        SpaceClipError: Unknown id, no network, a folder without a CLIP model, weights missing, unknown precision, a
            host that cannot be made.
    """
    # transformers takes seconds to import, and only those who load an encoder need it.
    from .clip import ClipBackbone
    from .weights import load_pretrained, make_random

    device = torch.device(device)
    dtype = compute_dtype(precision, device)
    if revision and name.removeprefix(RANDOM).startswith((EMBEDDED, HOST)):
        raise SpaceClipError(f"backbone {name} is not of the hub and has no revision {revision}; leave it out")
    if name.startswith(HOST):
        from .host import host_backbone, make_host

        return host_backbone(*make_host(name.removeprefix(HOST)), device=device, precision=precision)
    if name.startswith(RANDOM):
        model, revision = make_random(embedded_folder(name.removeprefix(RANDOM)), seed), _random_revision(seed)
    elif name.startswith(EMBEDDED):
        folder = embedded_folder(name)
        require_unaltered(name, Path(folder))
        model, revision = load_pretrained(folder, None)[0], _EMBEDDED_REVISION
    else:
        model, revision = load_pretrained(name, revision or PINNED.get(name))
    return ClipBackbone(model, {"name": _known_as(name), "revision": revision}, device, dtype)


def _known_as(name: str) -> str:
    """A path is known by its last name, and by its weights, so that its place on a disk does not matter."""
    kind = RANDOM if name.startswith(RANDOM) else ""
    path = Path(name.removeprefix(kind))
    if not path.exists():
        return name
    path = path.resolve()
    return kind + (f"{path.parent.name}/{path.name}" if path.is_file() else path.name)


def _random_revision(seed: int) -> str:
    return f"random weights, seed {seed}"


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
