"""A data set and its splits, as an experiment names them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ..cache import Entry, SpaceClipError
from .folder import FolderSettings, FolderSource
from .sources import Sample, Source
from .splits import SPLITS, SplitSettings, assign, check_disjoint
from .synthetic import SyntheticSettings, SyntheticSource


class FolderData(FolderSettings):
    """Anybody's images.

    Attributes:
        split: How validation and test samples are held out of these images.
        val: Validation images that lie elsewhere, or are listed apart.
        test: Test images that lie elsewhere, or are listed apart.
    """

    split: SplitSettings = SplitSettings()
    val: FolderSettings | None = None
    test: FolderSettings | None = None


class SyntheticData(SyntheticSettings):
    """The embedded rooms and streets.

    Attributes:
        split: How validation and test scenes are held out.
    """

    split: SplitSettings = SplitSettings(by="scene", val=0.125, test=0.25)


DataSettings = Annotated[FolderData | SyntheticData, Field(discriminator="kind")]


class Subset:
    """Some samples of a source, in the order given."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source, self._indices = source, indices
        self.entries: Sequence[Entry] = [source.entries[index] for index in indices]

    @property
    def depth_unit(self) -> float | None:
        """The whole source's, so that all splits keep depth alike."""
        return self._source.depth_unit

    def load(self, index: int) -> Sample:
        """Decode one sample."""
        return self._source.load(self._indices[index])

    def depth_sizes(self) -> list[tuple[int, int] | None]:
        """Native (height, width) of every sample's depth map."""
        sizes = self._source.depth_sizes()
        return [sizes[index] for index in self._indices]

    def check(self) -> None:
        """Check the whole source."""
        self._source.check()


def open_splits(settings: FolderData | SyntheticData) -> dict[str, Source]:
    """The splits that a data set has, by name; those without samples are left out.

    Raises:
        SpaceClipError: Missing or contradictory files, too few scenes, or a scene or sample in two splits.
    """
    elsewhere: dict[str, Source] = {}
    column = None
    if isinstance(settings, SyntheticData):
        whole: Source = SyntheticSource(settings)
    else:
        whole = FolderSource(settings)
        column = whole.splits
        apart = {"val": settings.val, "test": settings.test}
        elsewhere = {name: FolderSource(found) for name, found in apart.items() if found is not None}
    parts = assign(whole.entries, settings.split, column)
    if twice := [name for name in elsewhere if parts[name]]:
        raise SpaceClipError(
            f"data: {twice[0]} is given as files of its own and held out by data.split too; set split.{twice[0]} to 0"
        )
    splits = {name: elsewhere.get(name) or Subset(whole, parts[name]) for name in SPLITS}
    splits = {name: source for name, source in splits.items() if source.entries}
    if settings.split.by != "ratio":
        # Files that lie apart may be named alike and still be others; scenes may not.
        check_disjoint(
            {
                name: [replace(entry, id=f"{name}/{entry.id}") for entry in source.entries]
                for name, source in splits.items()
            }
        )
    return splits
