"""Results and studies beside the published rows, as a user asks for them, by their folders."""

from collections.abc import Sequence
from pathlib import Path

from ..evaluate import read_results
from ..evaluate.comparison import Section, compare_results, named_folders
from .study import STUDY, read_seed_runs


def compare_folders(paths: Sequence[Path], data: str | None = None, labels: Sequence[str] = ()) -> list[Section]:
    """Read folders that evaluations or studies left; each arm of a study is one row, over its seeds.

    Args:
        paths: The folders, or their `results.json` or `study.json`.
        data: As `compare_results`.
        labels: Likewise.

    Raises:
        SpaceClipError: One cannot be read, a study was not scored on a test split, or see `compare_results`.
    """
    folders = named_folders([path.parent if path.name == STUDY else path for path in paths])
    named = [
        found
        for name, folder in folders
        for found in (read_seed_runs(name, folder) if (folder / STUDY).exists() else [(name, read_results(folder))])
    ]
    return compare_results(named, data, labels)
