"""A data set and its splits, as an experiment names them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from ...cache import Entry, SpaceClipError
from .datasets import KittiData, NyuData
from .datasets.listed import ListedSource
from .datasets.lists import check_controlled
from .datasets.opening import describe_dataset, open_dataset
from .folder import FolderSettings, FolderSource
from .source import Source
from .splits import SPLITS, SplitSettings, Subset, assign, check_disjoint, resolved
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


AnyData = FolderData | SyntheticData | KittiData | NyuData
DataSettings = Annotated[AnyData, Field(discriminator="kind")]


def open_splits(settings: AnyData) -> dict[str, Source]:
    """The splits that a data set has, by name; those without samples are left out.

    Raises:
        SpaceClipError: Missing or contradictory files, too few scenes, or a scene or sample in two splits.
    """
    whole, apart, column = _sources(settings)
    split = resolved(settings.split, column)
    parts = assign(whole.entries, split, column)
    if twice := [name for name in apart if parts[name]]:
        raise SpaceClipError(
            f"data: {twice[0]} is given as files of its own and held out by data.split too; set split.{twice[0]} to 0"
        )
    notes = []
    if settings.split.by is None and split.by == "column":
        notes.append("divided by the list's split column; to divide otherwise, set split by (--split-by)")
    splits = {name: apart.get(name) or Subset(whole, parts[name], split.by, notes) for name in SPLITS}
    splits = {name: source for name, source in splits.items() if source.entries}
    entries = {name: source.entries for name, source in splits.items()}
    if isinstance(whole, ListedSource):
        check_controlled(
            whole.listed.released, settings.split, {name: entries.get(name, ()) for name in ("train", "val")}
        )
    if split.by != "ratio":
        check_disjoint(entries if isinstance(settings, KittiData | NyuData) else _named_apart(entries))
    return splits


def describe(settings: AnyData, name: str, splits: Mapping[str, Source]) -> dict[str, Any]:
    """What the features of one split should say of their data: the data set, how the split came to be, the camera.

    Args:
        settings: The data set.
        name: The split.
        splits: All its splits; one alone may go by any name.
    """
    source = splits[name]
    camera = {"camera": source.camera} if source.camera else {}
    if isinstance(settings, KittiData | NyuData):
        return describe_dataset(settings, name, source) | camera
    by = source.by if isinstance(source, Subset) and len(splits) > 1 else None
    return {"data": settings.kind, "split": name, "split_by": by} | camera


def _sources(settings: AnyData) -> tuple[Source, dict[str, Source], Sequence[str | None] | None]:
    """What is to be divided, splits that lie apart, and the list's split column."""
    if isinstance(settings, SyntheticData):
        return SyntheticSource(settings), {}, None
    if isinstance(settings, FolderData):
        folder = FolderSource(settings)
        apart = {"val": settings.val, "test": settings.test}
        return folder, {name: FolderSource(found) for name, found in apart.items() if found is not None}, folder.splits
    parts = open_dataset(settings)
    return parts["train"], {name: source for name, source in parts.items() if name != "train"}, None


def _named_apart(splits: Mapping[str, Sequence[Entry]]) -> dict[str, list[Entry]]:
    """Files that lie apart may be named alike and still be others; scenes may not."""
    return {name: [replace(entry, id=f"{name}/{entry.id}") for entry in entries] for name, entries in splits.items()}
