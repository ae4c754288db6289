"""Where the error lies: AbsRel by true depth, by place in the frame, and by scene."""

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class Breakdown(BaseModel):
    """AbsRel of parts of what was scored.

    Attributes:
        depth_edges: Bins of the true depth, metres; one more than there are bins.
        by_depth: Over the pixels of a bin, of all images together; None where there are none.
        depth_pixels: How many pixels each bin has; empty in results that do not have it.
        by_place: Likewise for the cells of a grid over the frame, by row from the top; None where it was not scored.
        by_scene: Mean over the images of each named scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth_edges: list[float]
    by_depth: list[float | None]
    depth_pixels: list[int] = []
    by_place: list[list[float | None]] | None
    by_scene: dict[str, float]

    @classmethod
    def of(
        cls,
        depth_edges: NDArray[np.float64],
        by_depth: NDArray[np.float64],
        depth_pixels: NDArray[np.int64],
        by_place: NDArray[np.float64] | None,
        by_scene: Mapping[str, float],
    ) -> Self:
        """From arrays with NaN where nothing was scored."""
        return cls(
            depth_edges=depth_edges.tolist(),
            by_depth=_known(by_depth),
            depth_pixels=depth_pixels.tolist(),
            by_place=None if by_place is None else [_known(row) for row in by_place],
            by_scene=dict(by_scene),
        )


def _known(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
