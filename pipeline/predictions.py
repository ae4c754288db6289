"""Saved depth maps of any model, scored as our own are: against a store, or against the files of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
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
    def quarantined(self) -> dict[int, str]:
        """None: a file that cannot be read stops the scoring."""
        return {}

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
        from ..extract import prepare_depth

        return prepare_depth(self.ground_truth(index), self._target)

    def image(self, index: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB."""
        return self._source.load(index).image


class SavedMaps:
    """A folder of depth maps named by sample ids.

    Args:
        folder: Holds `<id>.npy`, `.png` or `.tiff` for every sample.
        scale: Stored values of one metre; integers need it.

    Attributes:
        with_zeros: Maps read so far that hold zeros, which are scored as the smallest depth.

    Raises:
        SpaceClipError: There is no such folder.
    """

    def __init__(self, folder: Path, scale: float | None) -> None:
        if not folder.is_dir():
            raise SpaceClipError(f"{folder}: no folder is there, expected one of saved depth maps: check --predictions")
        self._folder, self._scale = folder, scale
        self.with_zeros = 0

    def __call__(self, sample_id: str) -> NDArray[np.float32]:
        """The map [h, w] of a sample in metres.

        Raises:
            SpaceClipError: It is missing, unreadable, or holds what cannot be a depth.
        """
        from ..extract.sources.folder import decode_depth

        file = self._file(sample_id)
        if file is None:
            raise self._missing([sample_id])
        depth = decode_depth(file, self._scale)
        if bad := np.count_nonzero(~np.isfinite(depth) | (depth < 0)):
            raise SpaceClipError(
                f"{file} holds {bad} values that are negative, NaN or infinite: expected a predicted depth in metres "
                "for every pixel; fill or mend them before scoring"
            )
        if not depth.any():
            raise SpaceClipError(f"{file} holds nothing but zeros: expected a predicted depth; predict it again")
        self.with_zeros += not depth.all()
        return depth

    def check(self, truth: "GroundTruth") -> None:
        """Look for the map of every sample that has a ground truth.

        Raises:
            SpaceClipError: Some are missing: all counted, the first few named.
        """
        absent = [(row, name) for row, name in enumerate(truth.sample_ids) if self._file(name) is None]
        if missing := [name for row, name in absent if truth.ground_truth(row).any()]:
            raise self._missing(missing)

    def _file(self, sample_id: str) -> Path | None:
        from ..extract.sources.folder import DEPTH_SUFFIXES

        # Not with_suffix: an id may hold dots.
        files = (self._folder / f"{sample_id}{suffix}" for suffix in DEPTH_SUFFIXES)
        return next((file for file in files if file.is_file()), None)

    def _missing(self, names: Sequence[str]) -> SpaceClipError:
        from ..extract import counted, first_few

        found = next((path for path in sorted(self._folder.rglob("*")) if path.is_file()), None)
        example = f"found {found.relative_to(self._folder)} there" if found else "the folder is empty"
        return SpaceClipError(
            f"{self._folder}: no map of {counted(len(names), 'sample')}: {first_few(names)}; expected {names[0]}.npy "
            f"(metres), .png or .tiff (with --depth-scale), {example}: name maps by the samples' ids, in their folders"
        )


def run_saved(
    folder: Path,
    experiment: "Experiment | None",
    splits: "Mapping[str, GroundTruth] | None",
    settings: "EvaluateSettings",
    out: Path,
    options: Mapping[str, Any],
) -> None:
    """Score saved maps, on the splits given or else on an experiment's files, and write numbers and figures."""
    from ..evaluate import SavedMapsFacts, evaluate_saved, scored_split
    from .progress import progress

    read = SavedMaps(folder, options["depth_scale"])
    if splits is None:
        if experiment is None:
            raise SpaceClipError("saved maps need a truth: give --features (a store) or --config (an experiment)")
        splits = _from_files(experiment)
    data = next((split.about.get("data") for split in splits.values()), None)
    farthest = experiment.train.max_depth if experiment else _MAX_DEPTH.get(str(data), _FARTHEST)
    if options["max_depth"] is not None:
        settings = settings.model_copy(update={"max_depth": options["max_depth"]})
    for name in dict.fromkeys(scored_split(protocol, splits) for protocol in settings.protocols):
        read.check(splits[name])
    name = options["name"] or folder.resolve().name
    facts = SavedMapsFacts(path=str(folder), name=name, depth_scale=options["depth_scale"])
    with progress("score", "images") as report:
        evaluate_saved(facts, read, splits, (_MIN_DEPTH, farthest), settings, out, report)
    if read.with_zeros:
        click.echo(f"{read.with_zeros} maps hold zeros, which were scored as {_MIN_DEPTH:g} m", err=True)


def _from_files(experiment: "Experiment") -> dict[str, SourceTruth]:
    from ..extract import describe, open_splits

    sources = open_splits(experiment.data)
    found = {}
    for name, source in sources.items():
        if name != "train":
            source.check()
            about = describe(experiment.data, name, sources)
            found[name] = SourceTruth(source, about, experiment.extract.target_size)
    return found
