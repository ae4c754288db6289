"""The hidden states of a CLIP vision tower, kept while it computes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ...cache import SpaceClipError
from .backbone import Features

_POOLED: Literal["pooled"] = "pooled"


class HiddenStates:
    """Forward hooks on a CLIP vision tower that keep the hidden states of its last forward pass until the next begins.

    Hidden state 0 is the embedding after CLIP's first LayerNorm, state i the output of block i; the last has not passed
    the final LayerNorm (arXiv 2601.17657, section 3). The global vector is the class token after the last LayerNorm.
    Nothing is computed and nothing changed: what is kept are the tower's own tensors, without their graph.

    Args:
        tower: A CLIP vision transformer of transformers.
        layers: Hidden states to keep.
    """

    def __init__(self, tower: torch.nn.Module, layers: Sequence[int]) -> None:
        parts: Any = tower
        self._layers = tuple(layers)
        self._kept: dict[int | Literal["pooled"], Tensor] = {}
        sources: list[torch.nn.Module] = [parts.pre_layrnorm, *parts.encoder.layers]
        # A pass that fails half-way must not leave its states beside those of the pass before.
        self._hooks = [sources[0].register_forward_pre_hook(self._begin)]
        for layer in self._layers:
            self._hooks.append(sources[layer].register_forward_hook(partial(self._keep, layer)))
        self._hooks.append(parts.post_layernorm.register_forward_hook(partial(self._keep, _POOLED)))

    @property
    def features(self) -> Features:
        """Those of the last forward pass.

        Raises:
            SpaceClipError: There was none, or it did not go through the whole tower.
        """
        if missing := [str(name) for name in (*self._layers, _POOLED) if name not in self._kept]:
            raise SpaceClipError(
                f"the vision tower has not computed {', '.join(missing)} in its last forward pass, or there was none: "
                "give it an image first, and let it run to its last LayerNorm"
            )
        return Features({layer: self._kept[layer][:, 1:] for layer in self._layers}, self._kept[_POOLED].float())

    def close(self) -> None:
        """Remove the hooks, and forget what they kept."""
        for hook in self._hooks:
            hook.remove()
        self._kept.clear()

    def _begin(self, _module: torch.nn.Module, _given: object) -> None:
        self._kept.clear()

    def _keep(self, name: int | Literal["pooled"], _module: torch.nn.Module, _given: object, output: Any) -> None:
        state: Tensor = output[0] if isinstance(output, tuple) else output  # a tuple in transformers 4
        self._kept[name] = state.detach() if state.requires_grad else state
