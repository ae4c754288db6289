"""The encoder that a store or a checkpoint names in its record."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...cache import SpaceClipError
from .backbone import RANDOM, Backbone, load_backbone
from .embedded import EMBEDDED


def load_recorded_backbone(
    identity: Mapping[str, Any], *, source: str | None = None, device: torch.device | str = "cpu"
) -> Backbone:
    """Load the encoder that features came from, and hold its weights against the record.

    It computes in the recorded precision; for float16 a CPU takes float32, which is faster there.

    Args:
        identity: The record, as `Backbone.identity`.
        source: Where the encoder is, as for `load_backbone`; a folder is recorded by its last name alone.
        device: Where it computes.

    Raises:
        SpaceClipError: It cannot be found or loaded, or its weights are others.
    """
    if lacking := [key for key in ("name", "revision", "weights", "precision") if key not in identity]:
        raise SpaceClipError(
            f"the record of the encoder lacks its {', '.join(lacking)}: it is none that SpaceCLIP wrote"
        )
    name, recorded = source or str(identity["name"]), str(identity["revision"])
    if source is None and is_local(name) and not Path(name.removeprefix(RANDOM)).exists():
        raise SpaceClipError(
            f"the encoder {name} was read from a folder that is not recorded: say where it is (--backbone)"
        )
    seed = re.fullmatch("random weights, seed ([0-9]+)", recorded)
    on_hub = name == identity["name"] and not name.startswith((RANDOM, EMBEDDED)) and not is_local(name)
    precision = str(identity["precision"])
    backbone = load_backbone(
        name,
        revision=recorded if on_hub else None,
        seed=int(seed[1]) if seed else 0,
        precision="float32" if precision == "float16" and torch.device(device).type == "cpu" else precision,
        device=device,
    )
    if backbone.identity["weights"] != identity["weights"]:
        raise SpaceClipError(
            f"the encoder {name} has other weights than the one recorded ({identity['name']}, {recorded}): SHA-256 "
            f"{backbone.identity['weights'][:12]}, expected {str(identity['weights'])[:12]}; say where that one is "
            "(--backbone)"
        )
    return backbone


def is_local(name: str) -> bool:
    """Whether a recorded name is the end of a path: ids of the hub have an owner, and end in no file."""
    bare = name.removeprefix(RANDOM)
    return not bare.startswith(EMBEDDED) and ("/" not in bare or bare.endswith(".json"))
