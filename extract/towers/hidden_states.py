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
    Nothing is computed and nothing changed. What a backward pass computes again (checkpointing) is no forward pass.

    Args:
        tower: A CLIP vision transformer of transformers.
        layers: Hidden states to keep.
        copies: Keep copies, without the graph, where the tower's own tensors may be changed in place afterwards.

    Attributes:
        image_size: (height, width) in pixels of the images of the last forward pass; (0, 0) if there was none.
    """

    image_size: tuple[int, int] = (0, 0)

    def __init__(self, tower: torch.nn.Module, layers: Sequence[int], *, copies: bool = False) -> None:
        parts: Any = tower
        self._layers, self._copies = tuple(layers), copies
        self._kept: dict[int | Literal["pooled"], Tensor] = {}
        patches: torch.nn.Module = parts.embeddings.patch_embedding
        sources: list[torch.nn.Module] = [parts.pre_layrnorm, *parts.encoder.layers]
        # A pass that fails anywhere must leave no states of the pass before, be it that a host calls only the parts.
        begins = (tower, parts.embeddings, parts.pre_layrnorm)
        self._hooks = [module.register_forward_pre_hook(self._begin, prepend=True) for module in begins]
        self._hooks.append(patches.register_forward_pre_hook(partial(self._see, patches)))
        for layer in self._layers:
            self._hooks.append(sources[layer].register_forward_hook(partial(self._keep, layer, sources[layer])))
        last = parts.post_layernorm
        self._hooks.append(last.register_forward_hook(partial(self._keep, _POOLED, last)))

    @property
    def features(self) -> Features:
        """Those of the last forward pass.

        Raises:
            SpaceClipError: There was none, or it did not go through the whole tower.
        """
        if missing := [str(name) for name in (*self._layers, _POOLED) if name not in self._kept]:
            raise SpaceClipError(
                f"the vision tower has not computed {', '.join(missing)} in its last forward pass, or there was none: "
                "give it an image first, and let it run to its last LayerNorm, itself and no replica of it"
            )
        return Features({layer: self._kept[layer][:, 1:] for layer in self._layers}, self._kept[_POOLED].float())

    def close(self) -> None:
        """Remove the hooks, and forget what they kept."""
        for hook in self._hooks:
            hook.remove()
        self._kept.clear()

    def _begin(self, _module: torch.nn.Module, _given: object) -> None:
        if not _is_backward():
            self._kept.clear()

    def _see(self, source: torch.nn.Module, module: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
        if module is source and not _is_backward():
            height, width = given[0].shape[-2:]
            self.image_size = (height, width)

    def _keep(
        self,
        name: int | Literal["pooled"],
        source: torch.nn.Module,
        module: torch.nn.Module,
        _given: object,
        output: Any,
    ) -> None:
        # After the last LayerNorm blocks run for the gradients alone, be they compiled; replicas (DataParallel) share
        # the hooks.
        if _POOLED in self._kept or module is not source or _is_backward():
            return
        state: Tensor = output[0] if isinstance(output, tuple) else output  # a tuple in transformers 4
        self._kept[name] = state.detach().clone() if self._copies else state


def _is_backward() -> bool:
    """Whether a backward pass calls, which computes again what was not kept for it; compiled code cannot say."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
