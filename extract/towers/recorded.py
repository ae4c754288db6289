"""The encoder that a store or a checkpoint names in its record."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...cache import SpaceClipError
from .backbone import HOST, RANDOM, Backbone
from .clip import weights_hash
from .embedded import EMBEDDED
from .host import HostTower
from .loading import load_backbone


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
    # A record may come from anybody: it must not say what is imported and called.
    if source is None and name.startswith(HOST):
        raise SpaceClipError(
            f"the encoder {name} is a host's own: say what makes that (--backbone host:PKG:CALLABLE), or attach to it"
        )
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


def require_recorded_weights(tower: HostTower, identity: Mapping[str, Any], *, source: str | None = None) -> str:
    """Refuse a host's tower whose weights are not those of a record, be it rounded to a type of 16 bits.

    Args:
        tower: The host's.
        identity: The record, as `Backbone.identity`.
        source: Where the recorded encoder is, as for `load_recorded_backbone`; it is loaded if it is to be rounded.

    Returns:
        How they are the same.

    Raises:
        SpaceClipError: They are others, or cannot be read.
    """
    if any(weight.is_meta for weight in tower.module.parameters()):
        raise SpaceClipError(f"{tower.name} has weights that are not loaded (on the meta device): load them first")
    if (found := weights_hash(tower.module)) == identity.get("weights"):
        return "the recorded weights"
    try:
        loaded: Any = load_recorded_backbone({**identity, "precision": "float32"}, source=source)
    except SpaceClipError as error:
        compared = f"they cannot be compared after rounding: {error}"
    else:
        for through in (torch.float32, torch.float16, torch.bfloat16):
            if _rounded_hash(loaded.model, tower, through) == found:
                return f"the recorded weights, rounded to {tower.dtype if through == torch.float32 else through}"
        compared = "rounded to 16 bits or not"
    raise SpaceClipError(
        f"{tower} has other weights (SHA-256 {found[:12]}) than the encoder {identity.get('name')} of the record "
        f"(SHA-256 {identity.get('weights')!s:.12}; {compared})"
    )


def _rounded_hash(model: torch.nn.Module, tower: HostTower, through: torch.dtype) -> str | None:
    """The hash of a model whose weights were rounded to one type, and then to those that a tower keeps them in."""
    model = copy.deepcopy(model)
    weights, kept = getattr(model, "vision_model", model).state_dict(), tower.module.state_dict()
    if weights.keys() != kept.keys():
        return None
    for name, values in weights.items():
        values.copy_(values.to(through).to(kept[name].dtype))
    return weights_hash(model)


def is_local(name: str) -> bool:
    """Whether a recorded name is the end of a path: ids of the hub have an owner, and end in no file."""
    bare = name.removeprefix(RANDOM)
    return not bare.startswith(EMBEDDED) and ("/" not in bare or bare.endswith(".json"))
