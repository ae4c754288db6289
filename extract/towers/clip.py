"""The frozen encoder: the vision tower of a CLIP model, from the hub, a folder, or random weights openly named."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from ...cache import SpaceClipError

if TYPE_CHECKING:
    from transformers.models.clip import CLIPVisionModel

RANDOM = "random:"

# The paper's encoder, pinned to the commit that its numbers belong to.
PINNED = {"openai/clip-vit-base-patch16": "57c216476eefef5ab752ec549e440a49ae4ae5f3"}

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class BackboneSettings(BaseModel):
    """Which frozen encoder, and how it computes.

    Attributes:
        name: Hub id, local folder, or `random:<hub id, folder or config.json>` for seeded random weights.
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
        """What these settings alone say of the identity of the features that they make."""
        if self.name.startswith(RANDOM):
            return {"name": self.name, "revision": _random_revision(self.seed)}
        revision = self.revision or PINNED.get(self.name)
        if Path(self.name).is_dir():
            return {"name": Path(self.name).resolve().name}
        return {"name": self.name} | ({"revision": revision} if revision else {})


@dataclass(frozen=True)
class Features:
    """What the encoder says of a batch.

    Attributes:
        states: Patch tokens of each hidden state asked for, [B, P, C] float16, without the class token.
        pooled: Class token after the last LayerNorm, [B, C] float32.
    """

    states: dict[int, Tensor]
    pooled: Tensor


class Backbone:
    """A CLIP vision tower in evaluation mode that computes features and never changes.

    Hidden state 0 is the embedding after CLIP's first LayerNorm, state i the output of block i; the last has not passed
    the final LayerNorm (arXiv 2601.17657, section 3).

    Attributes:
        identity: Name, revision, weights hash and precision, as the store's fingerprint wants them.
        depth: Number of blocks, and so the highest hidden state.
        patches: Patch tokens P.
        channels: Width C.
        input_size: Side of the square input in pixels.
    """

    def __init__(
        self, model: "CLIPVisionModel", identity: dict[str, Any], device: torch.device, dtype: torch.dtype
    ) -> None:
        config = model.config
        self.model = model.eval().requires_grad_(False)
        torch.nn.Module.to(self.model, device=device, dtype=dtype)
        self.identity = {**identity, "precision": str(dtype).removeprefix("torch.")}
        self.device, self.dtype = device, dtype
        self.depth = int(config.num_hidden_layers)
        self.channels = int(config.hidden_size)
        self.input_size = int(config.image_size)  # pyright: ignore[reportArgumentType]
        self.patches = (self.input_size // int(config.patch_size)) ** 2  # pyright: ignore[reportArgumentType]
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255

    def check_layers(self, layers: Sequence[int]) -> None:
        """Refuse hidden states that the tower does not have.

        Raises:
            SpaceClipError: A layer is outside 0 to `depth`.
        """
        if wrong := [layer for layer in layers if not 0 <= layer <= self.depth]:
            raise SpaceClipError(
                f"layers: {wrong} asked for, but {self.identity['name']} has hidden states 0 to {self.depth}; "
                "choose among those"
            )

    @torch.inference_mode()
    def encode(self, images: Tensor, layers: Sequence[int]) -> Features:
        """Features of a batch.

        Args:
            images: [B, 3, S, S] uint8 RGB of the encoder's input size.
            layers: Hidden states to keep.
        """
        pixels = images.to(self.device, non_blocking=True).float().sub_(self._mean).div_(self._std)
        output = self.model(pixel_values=pixels.to(self.dtype), output_hidden_states=True)
        states = {layer: output.hidden_states[layer][:, 1:].to(torch.float16) for layer in layers}
        return Features(states, output.pooler_output.float())


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    seed: int = 0,
    precision: str = "auto",
    device: torch.device | str = "cpu",
) -> Backbone:
    """Load the vision tower alone; the text tower is never built.

    Args:
        name: Hub id, local folder, or `random:<hub id, folder or config.json>`.
        revision: Commit on the hub.
        seed: Of random weights.
        precision: Compute precision, see `BackboneSettings`.
        device: Where it computes.

    Raises:
        SpaceClipError: Unknown id, no network, a folder without a CLIP model, weights missing, unknown precision.
    """
    # transformers takes seconds to import, and only those who load an encoder need it.
    from .weights import load_pretrained, make_random

    device = torch.device(device)
    dtype = _dtype(precision, device)
    if name.startswith(RANDOM):
        model, revision = make_random(name.removeprefix(RANDOM), seed), _random_revision(seed)
    else:
        model, revision = load_pretrained(name, revision or PINNED.get(name))
    # A folder is known by its last name and its weights, so that its place on a disk does not matter.
    identity = {
        "name": Path(name).resolve().name if Path(name).is_dir() else name,
        "revision": revision,
        "weights": _weights_hash(model),
    }
    return Backbone(model, identity, device, dtype)


def _random_revision(seed: int) -> str:
    return f"random weights, seed {seed}"


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision == "auto":
        # The store keeps float16: bfloat16 would throw away three of its ten bits where float16 is as fast.
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else torch.float32
    if precision not in known:
        raise SpaceClipError(f"precision: {precision!r} is unknown; choose auto, {', '.join(known)}")
    return known[precision]


def _weights_hash(model: "CLIPVisionModel") -> str:
    """SHA-256 over names and float32 values of all weights, whatever type and file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().contiguous().numpy().data)
    return digest.hexdigest()
