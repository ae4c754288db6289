"""What depth a data set can hold: a wrong unit shows in its medians and maxima."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....cache import SpaceClipError
from ...problems import first_few
from ..folder.files import spread
from ..folder.headers import read_all
from ..source import Source

_PROBED = 16
_ODD = 0.25
"""Of the probed maps: with the units right, 4 % of NYU's maps and none of KITTI's lie outside; else nearly all do."""
_UNITS = "(KITTI counts are 1/256 m, NYU's 1/1000 m); set allow_odd_depth if it is right all the same"


class DepthStats(NamedTuple):
    """Smallest, middle and largest measured depth of one map, in metres."""

    lowest: float
    median: float
    highest: float


@dataclass(frozen=True)
class DepthRange:
    """What is plausible of a data set, in metres.

    One wall or one empty street is no error: the medians over several maps are judged, and how many maps are outside.

    Attributes:
        median: Bounds of a map's median.
        highest: Bounds of a map's largest value.
    """

    median: tuple[float, float]
    highest: tuple[float, float]

    def holds(self, found: DepthStats) -> bool:
        """Whether one map is within."""
        (low, high), (least, most) = self.median, self.highest
        return low <= found.median <= high and least <= found.highest <= most


def depth_stats(depth: NDArray[np.float32] | None) -> DepthStats | None:
    """The measured depth of a map in three numbers; None where there is none."""
    if depth is None:
        return None
    measured = depth[depth > 0]
    if not measured.size:
        return None
    return DepthStats(float(measured.min()), float(np.median(measured)), float(measured.max()))


def probe(source: Source, most: int = _PROBED, tick: Callable[[], None] = lambda: None) -> dict[str, DepthStats]:
    """Decode samples spread evenly over a source, images and depth.

    Args:
        source: The samples.
        most: How many samples, at most.
        tick: Called after each, from several threads.

    Returns:
        The depth of each that has some, by its id.

    Raises:
        SpaceClipError: Some cannot be read: all counted, the first few named.
    """

    def stats(index: int) -> DepthStats | None:
        try:
            return depth_stats(source.load(index).depth)
        finally:
            tick()

    names = [entry.id for entry in source.entries]
    indices = spread(len(names), most)
    found = read_all(indices, stats, "probed sample", lambda index: names[index])
    return {names[index]: depth for index, depth in zip(indices, found, strict=True) if depth}


def overall(maps: Collection[DepthStats]) -> DepthStats:
    """Smallest, median of medians, and largest over several maps."""
    lowest, median, highest = zip(*maps, strict=True)
    return DepthStats(min(lowest), float(np.median(median)), max(highest))


def judge(maps: Mapping[str, DepthStats], plausible: DepthRange, where: str) -> None:
    """Refuse depth that cannot be the data set's.

    Args:
        maps: Each map's depth, by its id.
        plausible: What it may be.
        where: The source's file, for the message.

    Raises:
        SpaceClipError: The medians over the maps are out of range, or more than one map and a quarter of them are.
    """
    if not maps:
        return
    for name, bounds, found in (
        ("median", plausible.median, np.median([found.median for found in maps.values()])),
        ("farthest", plausible.highest, np.median([found.highest for found in maps.values()])),
    ):
        if not bounds[0] <= found <= bounds[1]:
            raise SpaceClipError(
                f"{where}: found {name} depth {found:.2f} m over {len(maps)} probed maps, expected {bounds[0]:g} to "
                f"{bounds[1]:g} m: written in another unit? {_UNITS}"
            )
    odd = [
        f"{name} (median {found.median:.2f} m, farthest {found.highest:.2f} m)"
        for name, found in maps.items()
        if not plausible.holds(found)
    ]
    if len(odd) > max(1, _ODD * len(maps)):
        (low, high), (least, most) = plausible.median, plausible.highest
        raise SpaceClipError(
            f"{where}: {len(odd)} of {len(maps)} probed maps with another depth than median {low:g} to {high:g} m and "
            f"farthest {least:g} to {most:g} m: {first_few(odd)}; some written in another unit? {_UNITS}"
        )
