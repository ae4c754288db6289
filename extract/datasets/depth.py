"""What depth a data set can hold: a wrong unit shows in its medians and maxima."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...cache import SpaceClipError
from ..folder.files import spread
from ..folder.headers import read_all
from ..sources import Source

_PROBED = 16


class DepthStats(NamedTuple):
    """Smallest, middle and largest measured depth of one map, in metres."""

    lowest: float
    median: float
    highest: float


@dataclass(frozen=True)
class DepthRange:
    """What is plausible of a data set, in metres.

    Medians over several maps are judged, not single maps, so that one wall or one empty street is no error.

    Attributes:
        median: Bounds of the median over maps of the maps' medians.
        highest: Bounds of the median over maps of the maps' largest values.
    """

    median: tuple[float, float]
    highest: tuple[float, float]


def depth_stats(depth: NDArray[np.float32] | None) -> DepthStats | None:
    """The measured depth of a map in three numbers; None where there is none."""
    if depth is None:
        return None
    measured = depth[depth > 0]
    if not measured.size:
        return None
    return DepthStats(float(measured.min()), float(np.median(measured)), float(measured.max()))


def check_depth(source: Source, plausible: DepthRange, where: str, *, allow_odd: bool, probe: int = _PROBED) -> None:
    """Decode samples spread evenly over a source and judge their depth.

    Args:
        source: The samples.
        plausible: What their depth may be.
        where: The source's file, for the message.
        allow_odd: Decode, but do not judge.
        probe: How many samples.

    Raises:
        SpaceClipError: Some cannot be read, or their depth is implausible.
    """
    found = read_all(
        spread(len(source.entries), probe),
        lambda index: depth_stats(source.load(index).depth),
        "probed sample",
        lambda index: source.entries[index].id,
    )
    if not allow_odd:
        judge([maps for maps in found if maps], plausible, where)


def overall(maps: Sequence[DepthStats]) -> DepthStats:
    """Smallest, median of medians, and largest over several maps."""
    lowest, median, highest = zip(*maps, strict=True)
    return DepthStats(min(lowest), float(np.median(median)), max(highest))


def judge(maps: Sequence[DepthStats], plausible: DepthRange, where: str) -> None:
    """Refuse depth that cannot be the data set's.

    Raises:
        SpaceClipError: The medians or maxima over the maps are out of range.
    """
    if not maps:
        return
    for name, bounds, found in (
        ("median", plausible.median, np.median([found.median for found in maps])),
        ("farthest", plausible.highest, np.median([found.highest for found in maps])),
    ):
        if not bounds[0] <= found <= bounds[1]:
            raise SpaceClipError(
                f"{where}: found {name} depth {found:.2f} m over {len(maps)} probed maps, expected {bounds[0]:g} to "
                f"{bounds[1]:g} m: written in another unit? (KITTI counts are 1/256 m, NYU's 1/1000 m); "
                "set allow_odd_depth if it is right all the same"
            )
