"""Read the checkpoints that the method's authors released into our decoder."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cache import SpaceClipError
from .decoder import DecoderSettings, DepthDecoder
from .weights import build_decoder

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
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise SpaceClipError(f"{where} holds no weights by name; give a checkpoint of the authors' release")
    weights = {name: value for name, value in weights.items() if not name.startswith(_FROZEN)}
    remedy = "set hidden_size, channels, film and structural to what it was trained with"
    return build_decoder(settings or DecoderSettings(), weights, where, remedy, release_name)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        # Torch reads altered weights without a word: it leaves the checksums of its zip files unchecked.
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file makes of the unpickler's program can raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SpaceClipError(f"cannot read {path} as a checkpoint ({reason}); give a file of weights only") from error
    if altered:
        raise SpaceClipError(f"cannot read {path} as a checkpoint ({altered} in it was altered); fetch it again")
    if not isinstance(content, Mapping):
        raise SpaceClipError(f"{path} holds a {type(content).__name__}, expected weights by name")
    return content
