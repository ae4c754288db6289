"""Patch tokens beside the mean depth of their patches, read from the features once, in blocks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...cache import Batches, Features, SpaceClipError
from ...train import feed

_TOKENS = 2048
"""Of a layer, in a block: enough for matrix products at full speed, few enough to hold every layer in float64."""


class PatchGrid:
    """The square grid of patches, as areas of a depth map of the whole frame.

    Args:
        patches: How many there are, P.
        size: (height, width) of the depth map.

    Raises:
        SpaceClipError: The map has fewer pixels than the grid has patches, one way or the other.
    """

    def __init__(self, patches: int, size: tuple[int, int]) -> None:
        side = math.isqrt(patches)
        if min(size) < side:
            raise SpaceClipError(
                f"the depth is {size[0]} x {size[1]} pixels, expected {side} x {side} or more, one a patch: "
                "extract at a larger target size"
            )
        self.side = side
        # Pixel i of n lies in patch floor(i * side / n).
        self._starts = [-(-np.arange(side) * length // side) for length in size]
        self._pixels = self._sums(np.ones((1, *size)))

    def mean_depth(self, depth: NDArray, low: float, high: float) -> NDArray[np.float64]:
        """Mean depth of the valid pixels of each patch, 0 where fewer than half of its pixels are valid.

        Args:
            depth: [B, H, W] metres.
            low: Valid depths lie strictly above, metres.
            high: Likewise below.

        Returns:
            [B, P] metres.
        """
        valid = (depth > low) & (depth < high)
        count, total = self._sums(valid), self._sums(np.where(valid, depth, 0))
        kept = 2 * count >= self._pixels
        return np.divide(total, count, out=np.zeros_like(total), where=kept).reshape(len(depth), -1)

    def _sums(self, values: NDArray) -> NDArray[np.float64]:
        """Over each patch: [B, side, side] of [B, H, W]."""
        down, across = self._starts
        rows = np.add.reduceat(values, down, axis=1, dtype=np.float64)
        return np.add.reduceat(rows, across, axis=2)


@dataclass(frozen=True)
class PatchBlock:
    """The patches of some images that have a depth.

    Attributes:
        rows: Of the images, [B].
        depth: Mean depth of all their patches, [B, P] metres, 0 where left out.
        log_depth: Of the n patches that have one, [n].
        design: By layer their tokens less the shift, then 1, then the log depth: [n, C + 2] float64.
    """

    rows: NDArray[np.int64]
    depth: NDArray[np.float64]
    log_depth: NDArray[np.float64]
    design: dict[int, NDArray[np.float64]]


class PatchTokens:
    """Patch tokens of the plain view of a split, and the mean depths of their patches.

    Args:
        features: The split.
        layers: Hidden states to read.
        depth_range: Depths that count lie strictly within, metres.
        shift: By layer what is taken off every token, [C].

    Attributes:
        channels: Of a token, C.
        grid: The patches.

    Raises:
        SpaceClipError: The features lack depth, a layer or the plain view.
    """

    def __init__(
        self,
        features: Features,
        layers: Sequence[int],
        depth_range: tuple[float, float],
        shift: dict[int, NDArray[np.float64]],
    ) -> None:
        features.require(layers, depth=True)
        patches, self.channels = (features.identity["tokens"][name] for name in ("patches", "channels"))
        self.grid = PatchGrid(patches, features.depth_size)
        size = min(max(1, _TOKENS // patches), max(1, len(features.usable)))
        self._batches = Batches(features, size, layers, seed=0, flip_probability=0)
        self._range, self._shift = depth_range, shift

    def read(self, rows: NDArray[np.int64]) -> Iterator[PatchBlock]:
        """The patches of some rows, in their order."""
        size = self._batches.size
        parts = [part for part in np.split(rows, range(size, len(rows), size)) if len(part)]
        batches = self._batches.read((part, np.zeros(len(part), np.bool_)) for part in parts)
        for part, inputs in zip(parts, feed(batches, torch.device("cpu")), strict=True):
            depth = self.grid.mean_depth(inputs.depth[:, 0].numpy(), *self._range)
            known = depth.reshape(-1) > 0
            log_depth = np.log(depth.reshape(-1)[known])
            design = {
                layer: _design(tokens.flatten(0, 1), known, self._shift[layer], log_depth)
                for layer, tokens in inputs.states.items()
            }
            yield PatchBlock(part, depth, log_depth, design)


def first_token(features: Features, layers: Sequence[int]) -> dict[int, NDArray[np.float64]]:
    """By layer the first token of the first image, [C].

    Taken off all tokens, it leaves a channel that never changes exactly constant in every sum.
    """
    states = features.states(features.usable[:1].tolist(), layers=layers)
    return {layer: tokens[0, 0].astype(np.float64) for layer, tokens in states.items()}


def _design(
    tokens: torch.Tensor, known: NDArray[np.bool_], shift: NDArray[np.float64], log_depth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[n, C + 2] from the tokens [B * P, C] of the known patches."""
    out = np.empty((len(log_depth), len(shift) + 2))
    # PyTorch widens float16 several times as fast as NumPy.
    np.subtract(tokens[torch.from_numpy(known)].double().numpy(), shift, out=out[:, :-2])
    out[:, -2], out[:, -1] = 1, log_depth
    return out
