"""Where features lie, as a user names it, and opening the splits that are there."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .paths import NEW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..cache import FeatureCache, Features, Location


local_copy_option = click.option(
    "--local-copy",
    type=NEW,
    help="Folder that keeps what is read of features in a bucket, so that they are fetched once.",
)


@contextmanager
def extracted_by(config: Path | None, folders: "Sequence[Location]") -> "Iterator[None]":
    """Context in which an error that says to extract names the whole command, if all features are the experiment's."""
    from ..cache import SpaceClipError

    try:
        yield
    except SpaceClipError as error:
        if config is None or list(folders) != [Path("features") / config.stem]:
            raise
        command = "spaceclip extract"
        raise type(error)(str(error).replace(command, f"{command} --config {config}")) from error


def split_pointers(features: "Location") -> "dict[str, Location]":
    """The pointers in a folder of features, by split."""
    from ..cache import place_at

    names = place_at(features).names()
    return {name: features / f"{name}.json" for name in ("train", "val", "test", "all") if f"{name}.json" in names}


def split_stores(features: "Location") -> "dict[str, Location]":
    """The pointers of a folder with several, by split, without those of splits that the data set has not.

    What is no such folder stands alone, by no name.
    """
    from ..cache import Pointer

    pointers = split_pointers(features)
    held = {name: file for name, file in pointers.items() if Pointer.read(file).store}
    return held if len(pointers) > 1 and held else {"": features}


def open_joined(
    paths: "Sequence[Location]", expect: dict[str, Any] | None = None, local_copy: Path | None = None
) -> "Features":
    """One store or several as one."""
    from ..cache import FeatureCache, joined

    return joined([FeatureCache.open(path, expect=expect, local_copy=local_copy) for path in paths])


def open_training(
    folders: "Sequence[Location]", expect: dict[str, Any] | None, local_copy: Path | None = None
) -> "Features":
    """The training splits of folders of features."""
    from ..cache import SpaceClipError

    for folder in folders:
        pointers = split_pointers(folder)
        if not pointers and split_pointers(folder.parent):
            raise SpaceClipError(f"{folder}: is one split, expected the folder of all of them: give {folder.parent}")
        if list(pointers) == ["all"]:
            raise SpaceClipError(
                f"{folder}: was extracted whole; extract again with --val and --test to hold scenes out"
            )
    return open_joined([folder / "train.json" for folder in folders], expect, local_copy)


def open_validation(
    folders: "Sequence[Location]", training: "Features", local_copy: Path | None = None, *, split: str = "val"
) -> "Features | None":
    """The validation splits of folders of features, or another split; None where the data sets have none."""
    from ..cache import Pointer

    pointers = [file for folder in folders if Pointer.read(file := folder / f"{split}.json").store]
    return open_joined(pointers, training.features_identity, local_copy) if pointers else None


def open_scored(features: "Location", local_copy: Path | None = None) -> "dict[str, FeatureCache]":
    """The val and test splits of a folder of features, those that there are; or one store, whatever it holds."""
    from ..cache import FeatureCache, Pointer

    pointers = split_pointers(features)
    found = {name: pointers[name] for name in ("val", "test") if name in pointers}
    if found:
        held = {name: path for name, path in found.items() if Pointer.read(path).store}
        return {name: FeatureCache.open(path, local_copy=local_copy) for name, path in held.items()}
    cache = FeatureCache.open(features, local_copy=local_copy)
    return {"test" if cache.about.get("split") != "val" else "val": cache}
