"""Dividing a data set into training, validation and test samples."""

import random
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...cache import Counts, SpaceClipError
from ..problems import counted, first_few
from .source import CameraFacts, Entry, Sample, Source

SPLITS = ("train", "val", "test")


class SplitSettings(BaseModel):
    """How to divide a data set.

    Attributes:
        by: Whole scenes, single samples (`ratio`; neighbouring video frames then end up on both sides), or what the
            list's split column says (`column`). By default the column where a list has one, else scenes.
        val: Share of the scenes or samples held out for validation.
        test: Share held out for testing.
        seed: Seed of the shuffle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["scene", "ratio", "column"] | None = None
    val: float = Field(default=0, ge=0, lt=1)
    test: float = Field(default=0, ge=0, lt=1)
    seed: int = 42

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val:g} and test {self.test:g} leave nothing to train on: expected a sum below 1"
            )
        if self.by == "column" and (self.val or self.test):
            raise ValueError(
                "shares val and test are set, but by: column takes the list's split column: remove the shares"
            )
        return self


class Subset:
    """Some samples of a source, in the order given.

    Args:
        source: The whole.
        indices: Which of its samples.
        by: What the source was divided by.
        notes: What should be known of the division, a line each.
    """

    def __init__(
        self, source: Source, indices: Sequence[int], by: str | None = None, notes: Sequence[str] = ()
    ) -> None:
        self._source, self._indices, self.by, self._notes = source, indices, by, notes
        self.entries: Sequence[Entry] = [source.entries[index] for index in indices]

    @property
    def depth_unit(self) -> float | None:
        """The whole source's, so that all splits keep depth alike."""
        return self._source.depth_unit

    @property
    def depth_counts(self) -> Counts:
        """Likewise."""
        return self._source.depth_counts

    @property
    def camera(self) -> CameraFacts | None:
        """The whole source's."""
        return self._source.camera

    def load(self, index: int) -> Sample:
        """Decode one sample."""
        return self._source.load(self._indices[index])

    def depth_sizes(self) -> list[tuple[int, int] | None]:
        """Native (height, width) of every sample's depth map."""
        sizes = self._source.depth_sizes()
        return [sizes[index] for index in self._indices]

    def check(self) -> list[str]:
        """Check the whole source."""
        return [*self._notes, *self._source.check()]


def resolved(settings: SplitSettings, column: Sequence[str | None] | None) -> SplitSettings:
    """Settings that say by what to divide.

    Args:
        settings: As the user gave them.
        column: The split that the list names for each sample.

    Raises:
        SpaceClipError: The list has a split column, shares are set too, and nothing says which counts.
    """
    if settings.by is not None:
        return settings
    named = column is not None and any(column)
    if named and (settings.val or settings.test):
        raise SpaceClipError(
            "the list has a split column, and shares are set too (val, test): without the shares the column counts, "
            "with split by: scene or ratio (--split-by) the shares do"
        )
    return settings.model_copy(update={"by": "column" if named else "scene"})


def assign(
    entries: Sequence[Entry], settings: SplitSettings, column: Sequence[str | None] | None = None
) -> dict[str, list[int]]:
    """Indices of the samples of each split, ascending; every sample is in exactly one.

    By scene, the scenes are sorted and shuffled by `random.Random(seed)`; the first round(val * scenes) are held out
    for validation, the next round(test * scenes) for testing, at least one for a share above 0. With val 0.1 and seed
    20260926 that is how weights of the `controlled` protocol are chosen. By ratio it is the same with ids for scenes.

    Args:
        entries: The samples.
        settings: How to divide them.
        column: The split that the list names for each sample, for `by: column`.

    Returns:
        Indices for `train`, `val` and `test`.

    Raises:
        SpaceClipError: There are too few scenes or samples, samples without a scene, or split names other than these.
    """
    if settings.by == "column":
        split_of = dict(zip(range(len(entries)), _named_splits(entries, column), strict=True))
    elif settings.val or settings.test:
        units = _scenes(entries) if settings.by != "ratio" else [entry.id for entry in entries]
        held_out = _held_out(units, settings)
        split_of = {index: held_out.get(unit, "train") for index, unit in enumerate(units)}
    else:
        split_of = dict.fromkeys(range(len(entries)), "train")
    return {split: [index for index, name in split_of.items() if name == split] for split in SPLITS}


def check_disjoint(splits: Mapping[str, Sequence[Entry]]) -> None:
    """Check that splits, named by their keys, share neither a sample nor a scene.

    Raises:
        SpaceClipError: They do: all shared ids, or else scenes, are counted and the first few named.
    """
    for noun in ("id", "scene"):
        owner: dict[str, str] = {}
        shared: dict[str, str] = {}
        for split, entries in splits.items():
            for name in {entry.id if noun == "id" else entry.scene for entry in entries} - {None}:
                if owner.setdefault(str(name), split) != split:
                    shared[str(name)] = f"{name} (in {owner[str(name)]} and {split})"
        if shared:
            named = [shared[name] for name in sorted(shared)]
            raise SpaceClipError(
                f"{counted(len(named), noun)} in more than one split: {first_few(named)}; "
                f"expected every {noun} in one split only, or scores flatter: divide by scenes (data.split.by: scene)"
            )


def _scenes(entries: Sequence[Entry]) -> list[str]:
    nameless = [entry.id for entry in entries if entry.scene is None]
    if nameless:
        raise SpaceClipError(
            f"{counted(len(nameless), 'sample')} of {len(entries)} without a scene: {first_few(nameless)}; "
            "name scenes by an expression (data.scene) or in a list's scene column, or divide by samples "
            "(data.split.by: ratio)"
        )
    return [entry.scene for entry in entries if entry.scene is not None]


def _held_out(units: Sequence[str], settings: SplitSettings) -> dict[str, str]:
    groups = sorted(set(units))
    random.Random(settings.seed).shuffle(groups)
    val, test = (max(1, round(share * len(groups))) if share else 0 for share in (settings.val, settings.test))
    if val + test >= len(groups):
        noun = "sample" if settings.by == "ratio" else "scene"
        raise SpaceClipError(
            f"{counted(len(groups), noun)} cannot be divided into {val} for val, {test} for test and some to train on: "
            "give more, or lower the shares"
            + (", or divide by samples (data.split.by: ratio)" if noun == "scene" else "")
        )
    return dict.fromkeys(groups[:val], "val") | dict.fromkeys(groups[val : val + test], "test")


def _named_splits(entries: Sequence[Entry], column: Sequence[str | None] | None) -> Sequence[str]:
    if column is None or not any(column):
        raise SpaceClipError(
            "data.split.by: column needs a list with a split column (train, val or test): give one, or divide by "
            "scenes (data.split.by: scene)"
        )
    names = [name for name in column if name in SPLITS]
    if len(names) < len(column):
        wrong = [f"{entry.id} ({name})" for entry, name in zip(entries, column, strict=True) if name not in SPLITS]
        raise SpaceClipError(
            f"{counted(len(wrong), 'sample')} of {len(entries)} in no known split: {first_few(wrong)}; "
            f"expected {', '.join(SPLITS)}"
        )
    return names
