"""NYU Depth V2: the synchronised frames with their lists, or the official labelled file."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from .depth import DepthRange
from .layout import DatasetData, Layout, Part

LABELLED = "nyu_depth_v2_labeled.mat"

FOCAL = 518.8579
"""Focal length across in pixels of the colour camera, as the lists have it."""

_IMAGES: dict[Part, tuple[str, ...]] = {"train": ("sync",), "test": ("test", "official_splits/test")}

# The Kinect measures from about 0.5 to 10 m indoors: half of a usual frame lies within 1.2 to 5.5 m, and its farthest
# corner beyond 2 m. Counts of 1/256 m read as millimetres are 0.26 times as far, the reverse 3.9 times.
_PLAUSIBLE = DepthRange(median=(1.2, 5.5), highest=(2, 12))

NYU = Layout(
    kind="nyu",
    title="NYU Depth V2",
    example="kitchen_0028b/rgb_00045.jpg",
    lists={
        "train": ("nyudepthv2_train_files_with_gt.txt", "train_files_with_gt.txt"),
        "test": ("nyudepthv2_test_files_with_gt.txt", "test_files_with_gt.txt"),
    },
    images=_IMAGES,
    depths=_IMAGES,
    # kitchen_0028b/rgb_00045 is of scene kitchen_0028: one room in several takes. Longer paths are no NYU frames.
    scene=r"^([^/]+?)(?:(?<=[0-9])[A-Za-z])?/[^/]+$",
    depth_scale=1000,
    plausible=_PLAUSIBLE,
)


class NyuData(DatasetData):
    """NYU Depth V2 in its usual layouts.

    Listed training frames lie below `root/sync`, test frames below `root/test` or `root/official_splits/test`, depth
    beside them. A scene is a directory's name less its trailing letter.

    Attributes:
        kind: Names this source among the others.
        train: Training frames from the list, or the labelled file's.
        test: Test frames from the list, or the labelled file's.
        depth: Which of the labelled file's two depths; listed files hold but one.
        labelled: The labelled file, by default `root/nyu_depth_v2_labeled.mat`.
        split_file: Its official split, by default `root/splits.mat`.
    """

    kind: Literal["nyu"] = "nyu"
    train: Literal["lists", "labelled"] = "lists"
    test: Literal["lists", "labelled"] = "lists"
    depth: Literal["inpainted", "raw"] = "inpainted"
    labelled: Path | None = None
    split_file: Path | None = None

    @property
    def layout(self) -> Layout:
        """Where its files lie."""
        return NYU

    def is_labelled(self, part: Part) -> bool:
        """Whether a part's frames are the labelled file's."""
        return (self.train if part == "train" else self.test) == "labelled"

    def elsewhere(self, part: Part) -> str:
        """What to do where none of a part's listed images is below the root."""
        held = (
            f", or set {part}: labelled to take those of {self.labelled_file}" if self.labelled_file.is_file() else ""
        )
        return super().elsewhere(part) + held

    @property
    def labelled_file(self) -> Path:
        """The labelled file, as given or at its usual place."""
        return self.labelled or self.root / LABELLED

    @property
    def splits_file(self) -> Path:
        """The labelled file's split, as given or at its usual place."""
        return self.split_file or self.root / "splits.mat"

    @model_validator(mode="after")
    def _raw_is_labelled(self) -> Self:
        if self.depth == "raw" and not (self.is_labelled("train") or self.is_labelled("test")):
            raise ValueError("depth: raw is found in the labelled file alone: set train or test to labelled")
        return self
