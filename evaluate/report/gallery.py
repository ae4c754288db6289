"""The images of a page: each beside its truth, and what was predicted of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..panels import DEPTH_COLOURS, ERROR_COLOURS, HIGHEST_ERROR, SHOWN_COLUMNS, DepthScale
from ..pictures import gradient

_FEW = 800
"""Pictures that a page holds at their full width; of more each is smaller, so that the page stays of a size to send."""
_NARROWEST = 96


@dataclass(frozen=True)
class Picture:
    """A picture: its address, what it shows, and what is written below it."""

    address: str
    label: str
    caption: str = ""


@dataclass(frozen=True)
class Shown:
    """One image.

    Attributes:
        name: Its id.
        scene: Of the scene.
        group: `best`, `median` or `worst`.
        numbers: What it is of its group by, in a line.
        frame: Shape of its frame, as CSS writes it.
        pictures: Image and truth, then what was predicted, beside each other.
    """

    name: str
    scene: str
    group: str
    numbers: str
    frame: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Bar:
    """What colours mean: their gradient, and numbers with their places along it."""

    title: str
    gradient: str
    ticks: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Gallery:
    """All images, best first.

    Attributes:
        shown: They.
        text: How they were chosen, and what they are of.
        data: Name of the data set.
        scale: The colours of all depth in it.
    """

    shown: Sequence[Shown]
    text: str
    data: str
    scale: DepthScale

    @property
    def bars(self) -> list[Bar]:
        """What the colours mean."""
        return [
            Bar(
                f"{self.data}: depth (m)",
                gradient(DEPTH_COLOURS),
                [(f"{tick:g}", float(self.scale(tick))) for tick in self.scale.ticks],
            ),
            Bar(
                "relative error, |prediction - truth| / truth",
                gradient(ERROR_COLOURS),
                [(f"{share * HIGHEST_ERROR:g}", share) for share in (0, 0.2, 0.4, 0.6, 0.8)]
                + [(f"≥{HIGHEST_ERROR:g}", 1)],
            ),
        ]

    @property
    def groups(self) -> list[str]:
        """Those that there are."""
        return list(dict.fromkeys(shown.group for shown in self.shown))

    @property
    def scenes(self) -> list[str]:
        """Those that have a name."""
        return sorted({shown.scene for shown in self.shown if shown.scene})


def gallery_columns(pictures: int) -> int:
    """How wide each of so many pictures is, in pixels: a page of thousands still opens at once."""
    return max(_NARROWEST, round(SHOWN_COLUMNS * min(1.0, (_FEW / max(pictures, 1)) ** 0.5)))
