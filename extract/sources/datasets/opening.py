"""The training and test frames of KITTI or NYU Depth V2."""

from collections.abc import Mapping
from typing import Any

from ....cache import SpaceClipError
from ...problems import counted, first_few
from ..source import Source
from .kitti import KB_CROP, KittiData
from .labelled import LabelledSource
from .layout import Part
from .listed import ListedSource
from .lists import SplitList, list_path, list_sha256, required_list
from .nyu import NyuData

Dataset = KittiData | NyuData
PartSource = ListedSource | LabelledSource


def open_dataset(settings: Dataset) -> dict[Part, PartSource]:
    """All frames that are listed for training, and those for testing where there are any.

    Raises:
        SpaceClipError: Missing, wrong, misplaced or swapped files, or test frames that are listed for training too.
    """
    parts: dict[Part, PartSource] = {"train": open_part(settings, "train")}
    if has_test(settings):
        parts["test"] = open_part(settings, "test")
    for source in parts.values():
        if source.problem:
            raise SpaceClipError(source.problem)
    check_parts(settings, parts)
    return parts


def open_part(settings: Dataset, part: Part) -> PartSource:
    """The frames of one list that are there, or of the labelled file's part.

    Raises:
        SpaceClipError: A list or the labelled file is missing or wrong.
    """
    if isinstance(settings, NyuData) and settings.is_labelled(part):
        return LabelledSource(settings, part)
    crop = KB_CROP if isinstance(settings, KittiData) and settings.kb_crop else None
    return ListedSource(settings, part, crop)


def has_test(settings: Dataset) -> bool:
    """Whether test frames are given, or their list lies at its usual place."""
    return settings.is_labelled("test") or list_path(settings, "test") is not None


def check_parts(settings: Dataset, parts: Mapping[Part, PartSource]) -> None:
    """Refuse training and test frames that cannot belong together.

    Raises:
        SpaceClipError: The lists look swapped, or test frames are trained on: all counted, the first few named.
    """
    if len(parts) < 2:
        return
    train, test = parts["train"], parts["test"]
    if train.listed and test.listed:
        _check_lengths(settings, train.listed, test.listed)
    trained, tested = ([entry.id for entry in source.named] for source in (train, test))
    if shared := sorted(set(trained).intersection(tested)):
        raise SpaceClipError(
            f"{counted(len(shared), 'test frame')} of {len(tested)} in the training list too: {first_few(shared)}; "
            "expected none, or scores flatter: take them out of the training list"
        )


def _check_lengths(settings: Dataset, train: SplitList, test: SplitList) -> None:
    """Refuse lists found at their usual names, of unknown content, of which that for testing is the longer."""
    sure = settings.train_list or settings.test_list or train.released or test.released
    if not sure and len(test.rows) > len(train.rows):
        raise SpaceClipError(
            f"the training list {train.path} names {len(train.rows)} frames and the test list {test.path} "
            f"{len(test.rows)}: they look swapped; exchange them, or give them as train_list and test_list if it is "
            "meant so"
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
        "list_sha256": list_sha256(path.read_bytes()),
    }
    if isinstance(settings, KittiData):
        about["kb_crop"] = settings.kb_crop
    elif labelled:
        about["depth"] = "labelled, in-painted" if labelled.depth == "inpainted" else "labelled, raw"
    else:
        about["depth"] = "listed files"
    return about | {"without_depth": sum(size is None for size in source.depth_sizes())}
