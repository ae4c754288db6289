"""How a frozen encoder is named, and how it is loaded."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from ...cache import SpaceClipError
from .backbone import HOST, RANDOM, Backbone, compute_dtype
from .embedded import EMBEDDED, embedded_folder, require_unaltered

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
