"""Saved depth maps of any model, scored as our own are: against a store, or against the files of a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..cache import SpaceClipError

if TYPE_CHECKING:
    from ..evaluate import EvaluateSettings, GroundTruth
    from ..extract import Source
    from .config import Experiment

_MIN_DEPTH = 0.001
_MAX_DEPTH = {"nyu": 10.0}
_FARTHEST = 80.0


class SourceTruth:
    """The ground truth of a source, read from the data set's own files."""

    def __init__(self, source: "Source", about: dict[str, Any], target_size: tuple[int, int] | None) -> None:
        self.about = about
        self._source, self._target = source, target_size

    def __len__(self) -> int:
        return len(self._source.entries)

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples."""
        return [entry.id for entry in self._source.entries]

    @property
    def scenes(self) -> list[str | None]:
        """Scenes of the samples."""
        return [entry.scene for entry in self._source.entries]

    @property
    def depth_size(self) -> tuple[int, int]:
        """(height, width) that depth is brought to for training; (0, 0) if the experiment names none."""
        return self._target or (0, 0)

    def ground_truth(self, index: int) -> NDArray[np.float32]:
        """[H, W] metres, 0 where nothing was measured or there is no ground truth at all."""
        sample = self._source.load(index)
        return np.zeros(sample.image.shape[:2], np.float32) if sample.depth is None else sample.depth

    def depth(self, index: int) -> NDArray[np.float32]:
        """Likewise, brought to `depth_size` as extraction does."""
        from ..extract.preprocess import prepare_depth

        return prepare_depth(self.ground_truth(index), self._target)

    def image(self, index: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB."""
        return self._source.load(index).image


class SavedMaps:
    """A folder of depth maps named by sample ids.

    Args:
        folder: Holds `<id>.npy`, `.png` or `.tiff` for every sample.
        scale: Stored values of one metre; integers need it.

    Raises:
        SpaceClipError: There is no such folder.
    """

    def __init__(self, folder: Path, scale: float | None) -> None:
        if not folder.is_dir():
            raise SpaceClipError(f"{folder}: no folder is there, expected one of saved depth maps: check --predictions")
        self._folder, self._scale = folder, scale

    def __call__(self, sample_id: str) -> NDArray[np.float32]:
        """The map [h, w] of a sample in metres.

        Raises:
            SpaceClipError: It is missing, unreadable, or in no plausible unit.
        """
        from ..extract.folder.images import DEPTH_SUFFIXES, read_depth

        # Not with_suffix: an id may hold dots.
        for suffix in DEPTH_SUFFIXES:
            file = self._folder / f"{sample_id}{suffix}"
            if file.is_file():
                return read_depth(file, self._scale)
        found = next((path for path in sorted(self._folder.rglob("*")) if path.is_file()), None)
        example = f"found {found.relative_to(self._folder)} there" if found else "the folder is empty"
        raise SpaceClipError(
            f"{self._folder}: no map of {sample_id}, expected {sample_id}.npy (metres), .png or .tiff (with "
            f"--depth-scale); {example}: name the maps by the samples' ids, in the same folders"
        )


def run_saved(
    folder: Path,
    experiment: "Experiment | None",
    features: Path | None,
    settings: "EvaluateSettings",
    out: Path,
    options: Mapping[str, Any],
) -> None:
    """Score saved maps and write numbers and figures into a folder."""
    from ..evaluate import SavedMapsFacts, evaluate_saved
    from .evaluate import open_splits
    from .progress import progress

    splits: Mapping[str, GroundTruth]
    if features is not None:
        splits = open_splits(features)
    elif experiment is not None:
        splits = _from_files(experiment)
    else:
        raise SpaceClipError("saved maps need a ground truth: give --features (a store) or --config (an experiment)")
    data = next((split.about.get("data") for split in splits.values()), None)
    farthest = options["max_depth"] or (experiment.train.max_depth if experiment else None)
    depth_range = (_MIN_DEPTH, farthest or _MAX_DEPTH.get(str(data), _FARTHEST))
    facts = SavedMapsFacts(path=str(folder), name=options["name"] or folder.resolve().name)
    read = SavedMaps(folder, options["depth_scale"])
    with progress("score", "images") as report:
        evaluate_saved(facts, read, splits, depth_range, settings, out, report)


def _from_files(experiment: "Experiment") -> dict[str, SourceTruth]:
    from ..extract import describe, open_splits

    sources = open_splits(experiment.data)
    return {
        name: SourceTruth(source, describe(experiment.data, name, sources), experiment.extract.target_size)
        for name, source in sources.items()
        if name != "train"
    }
