"""What a check of a data set found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...problems import first_few
from .depth import DepthStats
from .layout import Part

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class PartReport:
    """What was found of the training or test frames.

    Attributes:
        name: `train` or `test`.
        list: The list; for labelled frames the file that holds them.
        sha256: Of the list; None for labelled frames.
        released: Whether that is the list as released; None for labelled frames.
        frames: Frames listed.
        without_depth: Of these, frames that are listed without ground truth.
        official: (frames, frames without ground truth) of the official split.
        scenes: Scenes of the listed frames.
        images: Listed images that are there.
        depths: Listed depth maps that are there.
        missing_images: Names of those that are not.
        missing_depths: Names of those that are not.
        image_sizes: Number of images of each `height x width`.
        depth_formats: Number of depth maps of each format.
        depth: Smallest, median of medians and largest depth over the probed maps, in metres.
        probed: Depth maps that were decoded, with their images.
    """

    name: Part
    list: Path
    sha256: str | None
    released: bool | None
    frames: int
    without_depth: int
    official: tuple[int, int]
    scenes: int
    images: int
    depths: int
    missing_images: Sequence[str]
    missing_depths: Sequence[str]
    image_sizes: Mapping[str, int]
    depth_formats: Mapping[str, int]
    depth: DepthStats | None
    probed: int

    def rows(self) -> dict[str, str]:
        """What to show, by its name."""
        released = {True: "as released", False: "not a released list", None: "labelled frames"}[self.released]
        return {
            "list": f"{self.list.name}, {released}",
            "SHA-256": self.sha256 or "-",
            "frames": f"{self.frames:,} (official {self.official[0]:,})",
            "without ground truth": f"{self.without_depth:,} (official {self.official[1]:,})",
            "scenes": f"{self.scenes:,}",
            "images": _there(self.images, self.missing_images),
            "depth maps": _there(self.depths, self.missing_depths),
            "image sizes": _kinds(self.image_sizes),
            "depth formats": _kinds(self.depth_formats),
            "depth": "-"
            if self.depth is None
            else f"{self.depth.lowest:.2f} to {self.depth.highest:.2f} m, median {self.depth.median:.2f} m "
            f"({self.probed:,} maps)",
        }


@dataclass(frozen=True)
class DatasetReport:
    """What a check found.

    Attributes:
        title: The data set's name.
        root: Its folder.
        parts: What was found of training and test frames; a part whose list cannot be read is left out.
        problems: What has to be mended, a line each; nothing if all is fit for extraction.
        notes: What need not be mended but should be known, a line each.
    """

    title: str
    root: Path
    parts: tuple[PartReport, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def probed(self) -> tuple[int, int]:
        """(depth maps decoded, depth maps there)."""
        return sum(part.probed for part in self.parts), sum(part.depths for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain values, for JSON."""
        parts = {
            part.name: {
                **asdict(part),
                "list": str(part.list),
                "depth": part.depth and part.depth._asdict(),
            }
            for part in self.parts
        }
        return {
            "title": self.title,
            "root": str(self.root),
            "parts": parts,
            "problems": list(self.problems),
            "notes": list(self.notes),
        }

    def table(self) -> "Table":
        """The parts side by side; problems and notes are not in it."""
        from rich.table import Table

        table = Table(title=f"{self.title} in {self.root}", title_justify="left", min_width=60)
        table.add_column("" if self.parts else "no list or labelled file that can be read")
        for part in self.parts:
            table.add_column(part.name, overflow="fold")
        columns = [part.rows() for part in self.parts]
        for name in columns[0] if columns else ():
            table.add_row(name, *(column[name] for column in columns))
        return table


def _there(count: int, missing: Sequence[str]) -> str:
    return f"{count:,} there, {len(missing):,} missing" + (f": {first_few(missing)}" if missing else "")


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in kinds.items()) or "-"
