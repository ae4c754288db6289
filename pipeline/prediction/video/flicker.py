"""How much depth changes where the image does not, and a filter against it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, avg_pool2d

_MOST, _AROUND, _LEAST = 3.0, 2, 0.1
"""A pixel did not change if what surrounds it, so many pixels to each side, changed by no more of 255 in the mean: a
single pixel does not by chance. Of a frame in which fewer than the last, a share, did not, all did: it is a cut, or the
camera moves."""


class Change(NamedTuple):
    """From one frame to the next.

    Attributes:
        unchanged: Share of the pixels that did not change (see `unchanged`).
        flicker: Mean change of their depth in metres; NaN where there are none.
        smoothed: Likewise of the filtered depth.
    """

    unchanged: float = 0.0
    flicker: float = math.nan
    smoothed: float = math.nan


class TemporalFilter:
    """An exponential moving average over the frames of a video.

    Of pixels that did not change (see `unchanged`), depth becomes `smooth` times that of the frame before, filtered,
    plus `1 - smooth` times its own. All others keep their own, so that nothing is dragged behind what moves, and a cut
    starts anew.

    Args:
        smooth: From 0, which filters nothing, to below 1.
    """

    def __init__(self, smooth: float) -> None:
        self.smooth = smooth
        self._before: tuple[NDArray[np.uint8], Tensor, Tensor] | None = None

    def __call__(self, pixels: NDArray[np.uint8], depth: Tensor) -> tuple[Tensor, Change]:
        """The filtered depth of the next frame, and what changed since the one before.

        Args:
            pixels: [S, S, 3], as the encoder sees the frame.
            depth: [h, w] metres.
        """
        filtered, change = depth, Change()
        if self._before is not None:
            pixels_before, depth_before, filtered_before = self._before
            same = unchanged(pixels_before, pixels, depth.shape)
            filtered = torch.where(same, self.smooth * filtered_before + (1 - self.smooth) * depth, depth)
            moved = (
                (one - other).abs()[same].double().mean().item()
                for one, other in ((depth, depth_before), (filtered, filtered_before))
            )
            change = Change(same.double().mean().item(), *moved)
        self._before = pixels, depth, filtered
        return filtered, change


def unchanged(before: NDArray[np.uint8], after: NDArray[np.uint8], size: torch.Size) -> Tensor:
    """[h, w] whether a pixel of depth stands still between two frames [S, S, 3]: all that the encoder sees of it.

    That is where the 5 x 5 pixels around it change by at most 3 of 255 in the mean, in the colour that changes most;
    and nowhere where that is of less than a tenth of the frame.
    """
    moved = torch.from_numpy(np.abs(before.astype(np.int16) - after).max(-1)).float()
    around = avg_pool2d(moved[None], 2 * _AROUND + 1, 1, _AROUND, count_include_pad=False)
    same = adaptive_max_pool2d(around, (size[0], size[1]))[0] <= _MOST
    return same & (same.double().mean() >= _LEAST)


def mean_change(changes: Sequence[Change]) -> Change:
    """That of a video, from those of its frames but the first: flicker over all pixels that did not change."""
    found = [change for change in changes if change.unchanged]
    if not found:
        return Change()
    weights = np.array([change.unchanged for change in found])
    flicker, smoothed = (np.average([change[at] for change in found], weights=weights).item() for at in (1, 2))
    return Change(weights.sum().item() / len(changes), flicker, smoothed)
