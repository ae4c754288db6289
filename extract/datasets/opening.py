"""The training and test frames of KITTI or NYU Depth V2."""

import hashlib
from collections.abc import Sequence
from typing import Any

from ...cache import Entry, SpaceClipError
from ..problems import counted, first_few
from ..sources import Source
from .kitti import KB_CROP, KittiData
from .labelled import LabelledSource
from .layout import Part
from .listed import ListedSource
from .lists import SplitList, list_path, required_list
from .nyu import NyuData

Dataset = KittiData | NyuData


def open_dataset(settings: Dataset) -> dict[Part, ListedSource | LabelledSource]:
    """The frames that are listed for training, and those for testing where there are any.

    Raises:
        SpaceClipError: Missing, wrong, misplaced or swapped files, or test frames that are listed for training too.
    """
    parts: dict[Part, ListedSource | LabelledSource] = {"train": open_part(settings, "train")}
    if has_test(settings):
        parts["test"] = open_part(settings, "test")
        train, test = parts["train"], parts["test"]
        if isinstance(train, ListedSource) and isinstance(test, ListedSource):
            check_lengths(train.listed, test.listed)
        check_apart(train.entries, test.entries)
    return parts


def open_part(settings: Dataset, part: Part) -> ListedSource | LabelledSource:
    """The frames of one list, or of the labelled file's part.

    Raises:
        SpaceClipError: Missing, wrong or misplaced files.
    """
    if isinstance(settings, NyuData) and settings.is_labelled(part):
        return LabelledSource(settings, part)
    crop = KB_CROP if isinstance(settings, KittiData) and settings.kb_crop else None
    return ListedSource(settings, part, crop)


def has_test(settings: Dataset) -> bool:
    """Whether test frames are given, or their list lies at its usual place."""
    return settings.is_labelled("test") or list_path(settings, "test") is not None


def check_lengths(train: SplitList, test: SplitList) -> None:
    """Refuse a test list that is longer than the training list.

    Raises:
        SpaceClipError: It is.
    """
    if len(test.rows) > len(train.rows):
        raise SpaceClipError(
            f"the training list {train.path} names {len(train.rows)} frames and the test list {test.path} "
            f"{len(test.rows)}: they look swapped; exchange them, or shorten the test list if it is meant so"
        )


def check_apart(train: Sequence[Entry], test: Sequence[Entry]) -> None:
    """Refuse test frames that are trained on.

    Raises:
        SpaceClipError: There are some: all counted, the first few named.
    """
    trained = {entry.id for entry in train}
    if shared := [entry.id for entry in test if entry.id in trained]:
        raise SpaceClipError(
            f"{counted(len(shared), 'test frame')} of {len(test)} in the training list too: {first_few(shared)}; "
            "expected none, or scores flatter: take them out of the training list"
        )


def describe_dataset(settings: Dataset, name: str, source: Source) -> dict[str, Any]:
    """What a reader of a split's features may want to know: its list, crop and depth, and frames without depth."""
    held_out = bool(settings.split.val or settings.split.test)
    apart = name == "test" and has_test(settings)
    part: Part = "test" if apart else "train"
    labelled = settings if isinstance(settings, NyuData) and settings.is_labelled(part) else None
    path = labelled.splits_file if labelled else required_list(settings, part)
    about: dict[str, Any] = {
        "data": settings.kind,
        "split": name,
        "split_by": settings.split.by if held_out and not apart else None,
        "list": path.name,
        "list_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    if isinstance(settings, KittiData):
        about["kb_crop"] = settings.kb_crop
    elif labelled:
        about["depth"] = "labelled, in-painted" if labelled.depth == "inpainted" else "labelled, raw"
    else:
        about["depth"] = "sync png"
    return about | {"without_depth": sum(size is None for size in source.depth_sizes())}
