"""CLIP's vision tower, frozen."""

import hashlib
import re
import threading
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...cache import SpaceClipError
from .backbone import RGB, Features
from .hidden_states import HiddenStates

if TYPE_CHECKING:
    from transformers.models.clip import CLIPVisionModel

MEAN: RGB = (0.48145466, 0.4578275, 0.40821073)
STD: RGB = (0.26862954, 0.26130258, 0.27577711)

# transformers calls the tower's parts otherwise from version to version; the weights' hash must not follow it.
_PARTS = {
    "embeddings.class_embedding": "class_token",
    "embeddings.patch_embedding": "patch_embedding",
    "embeddings.position_embedding": "position_embedding",
    "pre_layrnorm": "input_norm",
    "post_layernorm": "output_norm",
    "layer_norm1": "attention_norm",
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "attention_output",
    "layer_norm2": "mlp_norm",
    "mlp.fc1": "mlp_input",
    "mlp.fc2": "mlp_output",
}
_NAME = re.compile(r"(?:vision_model\.)?(?:encoder\.layers\.(\d+)\.)?(.+?)(\.weight|\.bias)?")


class ClipBackbone:
    """A CLIP vision tower in evaluation mode; a `Backbone` whose features are those of `HiddenStates`.

    Args:
        model: The tower; it is moved to the device and its precision.
        identity: Name and revision.
        device: Where it computes.
        dtype: What it computes in.
        normalisation: Mean and standard deviation of the RGB channels, 0 to 1; CLIP's if not given.
    """

    def __init__(
        self,
        model: "CLIPVisionModel",
        identity: dict[str, Any],
        device: torch.device,
        dtype: torch.dtype,
        normalisation: tuple[RGB, RGB] = (MEAN, STD),
    ) -> None:
        config: Any = model.config
        self.model = model.eval().requires_grad_(False)
        self._tower: torch.nn.Module = getattr(model, "vision_model", model)  # so in transformers 4
        self.mean, self.std = normalisation
        self.identity = {**identity, "weights": weights_hash(model), "precision": str(dtype).removeprefix("torch.")}
        torch.nn.Module.to(self.model, device=device, dtype=dtype)
        self.device, self.dtype = device, dtype
        self._hooked = threading.Lock()
        self.depth = int(config.num_hidden_layers)
        self.channels = int(config.hidden_size)
        self.input_size = int(config.image_size)
        self.patches = (self.input_size // int(config.patch_size)) ** 2
        self._mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(self.std, device=device).view(1, 3, 1, 1) * 255

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
        # Elsewhere than on CUDA an asynchronous copy may still read a temporary that has been freed.
        images = images.to(self.device, non_blocking=self.device.type == "cuda")
        pixels = images.float().sub_(self._mean).div_(self._std)
        # Another thread's pass would call these hooks too.
        with self._hooked, closing(HiddenStates(self._tower, layers)) as hidden:
            self.model(pixel_values=pixels.to(self.dtype))
            return hidden.features


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 over what a tower computes with: names of our own, shapes and float32 values of all its weights.

    What no shape tells is hashed too. The library's version, the files, their type and order do not matter.

    Raises:
        SpaceClipError: It has a part that is not known here.
    """
    config: Any = model.config
    digest = hashlib.sha256(
        f"clip heads={config.num_attention_heads} act={config.hidden_act} eps={config.layer_norm_eps:g}\n".encode()
    )
    named = {_our_name(name): tensor for name, tensor in model.state_dict().items()}
    for name in sorted(named):
        values = named[name].detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
        digest.update(f"{name} {list(values.shape)}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _our_name(name: str) -> str:
    found = _NAME.fullmatch(name)
    block, part, kind = found.groups() if found else (None, "", None)
    if part not in _PARTS:
        raise SpaceClipError(
            f"transformers {version('transformers')} has a part of a CLIP tower that is not known here ({name}): "
            "merge adapters and undo quantisation, or install a version of constraints.txt"
        )
    return ("" if block is None else f"block{int(block):03d}.") + _PARTS[part] + (kind or "")
