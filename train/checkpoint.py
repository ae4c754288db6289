"""Checkpoints: weights as safetensors, the rest as JSON that a person can read. Loading runs no code of the file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..cache import SpaceClipError, write_atomically
from .decoder import DecoderSettings, DepthDecoder

WEIGHTS = "checkpoint.safetensors"
INFO = "checkpoint.json"


class CheckpointInfo(BaseModel):
    """What belongs to the weights.

    Attributes:
        format: Of this file.
        decoder: Settings that the decoder is built from.
        backbone: Identity of the frozen encoder whose features it reads.
        preprocessing: What happens to an image before the encoder.
        store: Fingerprint and ledger digest of the training features.
        min_depth: Smallest depth it was trained and chosen on, metres.
        max_depth: Largest depth it was trained and chosen on, metres.
        weights: Whether raw or EMA weights were kept.
        epoch: The epoch, from 1, that they are of.
        chosen: Whether they are the best on validation or simply the last.
        metrics: Their validation metrics; empty without a validation split.
        protocol: Protocol of those metrics.
        training: Settings of the run.
        sha256: Of the weights file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    decoder: DecoderSettings
    backbone: dict[str, Any]
    preprocessing: dict[str, Any]
    store: dict[str, str]
    min_depth: float
    max_depth: float
    weights: Literal["raw", "ema"]
    epoch: int
    chosen: Literal["best", "last"] = "best"
    metrics: dict[str, float]
    protocol: dict[str, Any]
    training: dict[str, Any]
    sha256: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A decoder in evaluation mode, and what belongs to it."""

    decoder: DepthDecoder
    info: CheckpointInfo
    path: Path


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    """Write a checkpoint's two files into a folder, each whole or not at all."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    write_atomically(folder / WEIGHTS, content)
    text = info.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()}).model_dump_json(indent=2)
    write_atomically(folder / INFO, text.encode() + b"\n")


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The folder that holds it, or either of its two files.
        device: Where the decoder shall be.

    Raises:
        SpaceClipError: A file is missing, altered, or of another kind.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    for file in (folder / INFO, folder / WEIGHTS):
        if not file.is_file():
            raise SpaceClipError(f"{file}: no checkpoint is there; run `spaceclip train` to make one")
    try:
        info = CheckpointInfo.model_validate(json.loads((folder / INFO).read_bytes()))
    except (ValueError, ValidationError) as error:
        first = str(error).split("\n", 1)[0]
        raise SpaceClipError(f"{folder / INFO}: not a checkpoint of this version ({first}); train it again") from error
    content = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != info.sha256:
        raise SpaceClipError(f"{folder / WEIGHTS}: not the weights that {INFO} was written for; train it again")
    decoder = DepthDecoder(info.decoder)
    try:
        decoder.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).split("\n", 1)[0]
        raise SpaceClipError(f"{folder / WEIGHTS}: does not fit the decoder of {INFO} ({first})") from error
    return Checkpoint(decoder.to(device).eval(), info, folder / WEIGHTS)
