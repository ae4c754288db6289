"""The CLIP vision tower of a host: of a model that computes hidden states for a purpose of its own."""

import importlib
import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import nn

from ...cache import SpaceClipError, first_line
from .backbone import HOST, compute_dtype
from .clip import MEAN, STD, ClipBackbone
from .processor import normalisation

if TYPE_CHECKING:
    from transformers.models.clip import CLIPVisionModel

_PARTS = {"embeddings", "pre_layrnorm", "encoder", "post_layernorm"}
_COMPILED = "_orig_mod."
_SHOWN = 6


@dataclass(frozen=True)
class HostTower:
    """A CLIP vision transformer in a host.

    Attributes:
        name: Its place in the host; the host's class where that is the tower.
        module: The transformer.
    """

    name: str
    module: Any

    @property
    def blocks(self) -> int:
        """Number of blocks, and so the highest hidden state."""
        return len(self.module.encoder.layers)

    @property
    def channels(self) -> int:
        """Width C."""
        return int(self.module.embeddings.patch_embedding.out_channels)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.module.embeddings.patch_embedding.kernel_size[0])

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.module.embeddings.image_size)

    @property
    def patches(self) -> int:
        """Patch tokens P."""
        return (self.input_size // self.patch_size) ** 2

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are kept in."""
        return next(self.module.parameters()).dtype

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.blocks} blocks of width {self.channels}, patches of {self.patch_size} pixels, images "
            f"of {self.input_size})"
        )

    def copied(self) -> "CLIPVisionModel":
        """A vision model of its own in float32 with the tower's weights; the host is left alone.

        Raises:
            SpaceClipError: It has parts that a CLIP vision tower has not, such as adapters, or weights not finite.
        """
        # transformers takes seconds to import, and only those who load an encoder need it.
        from transformers.models.clip import CLIPVisionModel

        from .weights import Shape, first_fault, require_finite

        try:
            shape = Shape.model_validate(self.module.config.to_dict() | {"num_hidden_layers": self.blocks})
            with torch.random.fork_rng(devices=[]):
                model = CLIPVisionModel(shape.config())
            getattr(model, "vision_model", model).load_state_dict(self.module.state_dict())
        except (ValidationError, RuntimeError) as error:
            reason = first_fault(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
            raise SpaceClipError(
                f"{self.name} cannot be copied as a CLIP vision tower ({reason:.200}): merge adapters, undo "
                "quantisation, and load all its weights"
            ) from error
        require_finite(self.name, model)
        return model


def find_tower(host: nn.Module) -> HostTower:
    """The CLIP vision transformer of a host, wherever in it that is.

    Raises:
        SpaceClipError: There is none, or there are several; names what there is.
    """
    if not isinstance(host, nn.Module):
        raise SpaceClipError(
            f"the host is a {type(host).__name__}: expected a torch.nn.Module with a CLIP vision tower"
        )
    places = host.named_modules()
    found = [(place, module) for place, module in places if dict(module.named_children()).keys() >= _PARTS]
    if len(found) == 1:
        place, module = found[0]
        return HostTower(_readable(place) or type(module).__name__, module)
    if found:
        names = ", ".join(_readable(place) for place, _ in found)
        raise SpaceClipError(f"the host has {len(found)} CLIP vision towers: give the one that is meant, {names}")
    parts = [f"{_readable(name)} ({type(part).__name__})" for name, part in host.named_children()][:_SHOWN]
    raise SpaceClipError(
        f"the host, a {type(host).__name__} of {', '.join(parts) or 'no parts'}, has no CLIP vision tower of "
        "transformers: SpaceCLIP reads the hidden states of CLIP alone"
    )


def _readable(place: str) -> str:
    """A module's place without what `torch.compile` puts around it."""
    return (place + ".").replace(_COMPILED, "").removesuffix(".")


def host_backbone(
    host: nn.Module, processor: Any = None, *, device: torch.device | str = "cpu", precision: str = "auto"
) -> ClipBackbone:
    """An encoder with the weights of a host's tower, to extract features with; the host is left alone.

    Args:
        host: A model with one CLIP vision tower.
        processor: The host's image processor, whose normalisation is used; CLIP's if not given.
        device: Where the encoder computes.
        precision: Compute precision, see `BackboneSettings`.

    Raises:
        SpaceClipError: There is no such tower, or the processor does what extraction does not.
    """
    tower, device = find_tower(host), torch.device(device)
    used = (MEAN, STD) if processor is None else normalisation(processor, tower.input_size)
    named: dict[str, Any] = {"revision": "a host's own weights"}
    backbone = ClipBackbone(tower.copied(), named, device, compute_dtype(precision, device), used)
    # Wherever the host is made, the same weights are the same encoder.
    backbone.identity = {"name": HOST + backbone.identity["weights"][:12], **backbone.identity}
    return backbone


def make_host(name: str) -> tuple[nn.Module, Any]:
    """Call what makes a host; it is imported from the current folder too.

    Args:
        name: `PKG:CALLABLE`; the callable takes nothing, and returns the model or (model, image processor).

    Raises:
        SpaceClipError: It cannot be imported, fails, or makes something else.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise SpaceClipError(f"host {name}: expected PKG:CALLABLE, such as robot.vision:tower")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        made = attrgetter(attribute)(importlib.import_module(module))()
    except Exception as error:
        raise SpaceClipError(
            f"host {name}: it cannot be made here ({type(error).__name__}: {first_line(error)}); it must be importable "
            "from this folder or installed, and be callable without arguments"
        ) from error
    model, processor = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise SpaceClipError(
            f"host {name}: it made a {type(model).__name__}, expected a torch.nn.Module, or that and an image processor"
        )
    return model, processor
