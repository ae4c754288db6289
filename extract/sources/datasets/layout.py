"""What KITTI and NYU Depth V2 have in common: split lists over files below one root."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from ..splits import SplitSettings
from .depth import DepthRange

Part = Literal["train", "test"]
"""What a data set has lists of; validation is held out of the training list."""

CONTROLLED_SEED = 20260926
"""Of the published validation split."""


@dataclass(frozen=True)
class Layout:
    """Where a data set's files lie below its root, and what they hold.

    Attributes:
        kind: What an experiment calls it.
        title: The data set's name.
        example: An image as its lists name it.
        lists: File names of its split lists below the root, most usual first.
        images: Folders below the root that a listed image may lie in, by part.
        depths: Folders that a listed depth file may lie in, by part.
        scene: Expression whose first group, searched in a sample's id, names its scene.
        depth_scale: Counts of one metre.
        plausible: The depth it can hold.
    """

    kind: str
    title: str
    example: str
    lists: Mapping[Part, tuple[str, ...]]
    images: Mapping[Part, tuple[str, ...]]
    depths: Mapping[Part, tuple[str, ...]]
    scene: str
    depth_scale: float
    plausible: DepthRange


class DatasetData(BaseModel):
    """A data set that is divided by lists.

    Attributes:
        root: Folder that holds it.
        train_list: List of the training frames, a line `image depth focal` each; by default the usual names below root.
        test_list: List of the test frames; without one at its usual place there is no test split.
        allow_odd_depth: Accept depth that looks as if it were in another unit.
        split: How validation frames are held out of the training list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    train_list: Path | None = None
    test_list: Path | None = None
    allow_odd_depth: bool = False
    split: SplitSettings = SplitSettings(by="scene", seed=CONTROLLED_SEED)

    @field_validator("split", mode="before")
    @classmethod
    def _controlled_seed(cls, split: object) -> object:
        return {"by": "scene", "seed": CONTROLLED_SEED, **split} if isinstance(split, dict) else split

    @field_validator("split")
    @classmethod
    def _whole_scenes(cls, split: SplitSettings) -> SplitSettings:
        if split.by != "scene":
            raise ValueError(
                f"split by {split.by} would put frames of one scene on both sides: divide by scenes (by: scene)"
            )
        return split

    @property
    def layout(self) -> Layout:
        """Where its files lie."""
        raise NotImplementedError

    def elsewhere(self, part: Part) -> str:
        """What to do where none of a part's listed images is below the root."""
        return f"check `root`, or fetch the {part} images"

    def is_labelled(self, part: Part) -> bool:
        """Whether a part's frames come from one file that holds them all, and not from a list."""
        return False
