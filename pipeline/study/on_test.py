"""The test split of a study: what is scored on it, once all of its runs have ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ...cache import FeatureCache, Pointer, SpaceClipError, count_looks
from ...evaluate import (
    RESULTS,
    CheckpointFacts,
    EvaluateSettings,
    Protocol,
    Row,
    read_results,
    read_truths,
    samples_digest,
    split_of,
    valid_pixels,
)
from ...train import INFO, CheckpointInfo
from ..config import Experiment
from ..evaluation import score_checkpoints
from ..features import split_pointers
from .results import SplitFacts


@dataclass(frozen=True)
class OnTest:
    """How the runs of a study are scored on the test split.

    Attributes:
        folders: Of the features that they are trained on; the split is of the first.
        split: The test features.
        settings: The base's, without protocols of other splits.
        scored: What a run is scored by, what counts most first.
    """

    folders: Sequence[Path]
    split: FeatureCache
    settings: EvaluateSettings
    scored: Sequence[Protocol]

    @classmethod
    def of(
        cls, base: Experiment, folders: Sequence[Path], depth_range: tuple[float, float], local_copy: Path | None
    ) -> Self | None:
        """As an experiment asks for it; None where it has no test split, or no protocol of one.

        Raises:
            SpaceClipError: A protocol is not defined for the split.
        """
        settings, pointer = base.evaluate, split_pointers(folders[0]).get("test")
        names = tuple(name for name in settings.protocols if split_of(name) == "test")
        if not (names and pointer and Pointer.read(pointer).store):
            return None
        split = FeatureCache.open(pointer, local_copy=local_copy)
        settings = settings.model_copy(update={"protocols": names})
        protocols = [settings.protocol(name, split.about, *depth_range) for name in settings.protocols]
        return cls(folders, split, settings, [variant for one in protocols for variant in settings.variants(one)])

    def facts(self, rows: Iterable[Row] = ()) -> SplitFacts:
        """What its numbers are, and how often it was looked at when the last of these rows was scored, else by now."""
        rows = list(rows)
        looks = max((row.looks for row in rows if row.looks), key=lambda by: (by.uncounted, by.times), default=None)
        looks = looks or count_looks(self.split.path)
        baselines = next((row.baselines for row in rows), {})  # of the same images and training depths in all
        return SplitFacts(protocol=self.scored[0], images=len(self.split.usable), looks=looks, baselines=baselines)

    def require(self, layers: Sequence[int]) -> None:
        """Refuse, before anything is trained, a split that decoders of these hidden states cannot be scored on.

        Raises:
            SpaceClipError: It lacks depth, a hidden state, the flipped view, or a pixel to score.
        """
        self.split.require(layers, depth=True)
        if self.settings.flip_average and "flipped" not in self.split.views:
            raise SpaceClipError(
                f"{self.split.path}: holds no flipped view, which evaluate.flip_average reads; extract with it, or set "
                "evaluate.flip_average to false in the base"
            )
        truths = read_truths(self.split, [protocol.size for protocol in self.scored])
        for protocol in {protocol.setting: protocol for protocol in self.scored}.values():
            if not any(valid_pixels(truths(row)[protocol.size], protocol).any() for row in self.split.usable):
                raise SpaceClipError(
                    f"{self.split.path}: no image has a valid pixel under the {protocol.label}; set evaluate or the "
                    "range of depth (train.max_depth) otherwise in the base"
                )

    def row(self, run: Path) -> Row | None:
        """How a run was scored by the first protocol; None if it is not finished, or not scored on this split yet.

        Raises:
            SpaceClipError: Its weights were, by other protocols or on other images; or its scores cannot be read.
        """
        if not ((run / INFO).exists() and (run / RESULTS).exists()):
            return None
        try:
            found, info = read_results(run), CheckpointInfo.read(run / INFO)
        except SpaceClipError as error:
            told = str(error).partition("; ")[0]
            raise SpaceClipError(f"{told}; delete that file and give `spaceclip study` again") from error
        if not isinstance(found.model, CheckpointFacts) or found.model.sha256 != info.sha256:
            return None
        images = samples_digest(self.split)
        rows = {row.protocol: row for row in found.rows if row.samples_sha256 == images}
        if lacking := [protocol for protocol in self.scored if protocol not in rows]:
            raise SpaceClipError(
                f"{run / RESULTS}: was scored by {found.rows[0].protocol.label}, the study by {lacking[0].label}; set "
                "evaluate in the base as it was, delete that file, or give another --out"
            )
        row = rows[self.scored[0]]
        return row if row.features_sha256 == self.split.digest else None

    def score(self, runs: Sequence[Path], device: str, local_copy: Path | None) -> None:
        """Score finished runs, as `spaceclip evaluate` does, each into its own folder; all in one pass.

        Raises:
            SpaceClipError: See `score_checkpoints`.
        """
        score_checkpoints(
            *({run: run for run in runs}, self.folders[0], self.settings),
            baselines=self.folders,
            device=device,
            local_copy=local_copy,
            force=True,  # what they hold is of other weights or features, see `row`
        )
