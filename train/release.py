"""Read the checkpoints that the method's authors released into our decoder."""

import pickle
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cache import SpaceClipError
from .decoder import DecoderSettings, DepthDecoder

_FROZEN = "clip_vision_model."

# Our names -> theirs, applied in this order.
_RENAMES = (
    (r"^film\.(\d)\.generator", r"film_param_generators.\1"),
    (r"^semantic_projections", "main_path_projections"),
    (r"^structural_projections", "structural_path_projections"),
    (r"^semantic_blocks", "main_decoder_blocks"),
    (r"^structural_blocks", "structural_decoder_blocks"),
    (r"^head", "depth_prediction_head"),
    (r"^auxiliary_heads", "aux_depth_heads"),
    (r"upsample\.expand", "upsample_low.upsample"),
    (r"upsample\.refine", "upsample_low.conv"),
    (r"semantic_gate\.weigh", "skip_clip_gate.0"),
    (r"structural_gate\.weigh", "skip_struct_gate.0"),
    (r"\.fuse", ".fusion_conv"),
    (r"\.residual", ".fusion_conv.3"),
    (r"\.features", ""),
    (r"\.predict", ".3"),
)


def release_name(name: str) -> str:
    """The authors' name for a weight of `DepthDecoder`."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def load_release_checkpoint(
    source: str | Path | Mapping[str, Any], settings: DecoderSettings | None = None
) -> DepthDecoder:
    """Build a decoder, in evaluation mode, with the weights of a released checkpoint.

    Args:
        source: a checkpoint file (only tensors and plain values are ever unpickled), or what is in one: the weights
            by name, alone or under "model". Weights of the frozen tower are ignored.
        settings: the shape that the checkpoint was trained with; the paper's if not given.

    Raises:
        SpaceClipError: the file cannot be read, or its weights do not fit the settings.
    """
    where = "the checkpoint" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else _read(Path(source))
    weights = content.get("model", content)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise SpaceClipError(f"{where} holds no weights by name; give a checkpoint of the authors' release")
    weights = {name: value for name, value in weights.items() if not name.startswith(_FROZEN)}

    decoder = DepthDecoder(settings)
    ours = decoder.state_dict()
    names = {name: release_name(name) for name in ours}
    _refuse(where, "misses", [theirs for theirs in names.values() if theirs not in weights])
    _refuse(where, "has unexpected", sorted(weights.keys() - names.values()))
    _refuse(
        where,
        "has mis-shaped",
        [
            f"{theirs} {list(weights[theirs].shape)} instead of {list(ours[name].shape)}"
            for name, theirs in names.items()
            if weights[theirs].shape != ours[name].shape
        ],
    )
    decoder.load_state_dict({name: weights[theirs] for name, theirs in names.items()})
    return decoder.eval()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise SpaceClipError(f"cannot read {path} as a checkpoint ({reason}); give a file of weights only") from error
    if not isinstance(content, Mapping):
        raise SpaceClipError(f"{path} holds a {type(content).__name__}, expected weights by name")
    return content


def _refuse(where: str, fault: str, names: Collection[str]) -> None:
    if names:
        shown = ", ".join(list(names)[:3]) + (", ..." if len(names) > 3 else "")
        raise SpaceClipError(
            f"{where} {fault} {len(names)} weights ({shown}); set hidden_size, channels, film and structural "
            "to what it was trained with"
        )
