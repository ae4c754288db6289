"""The folder of a result: never replaced unasked, and without the remains of an earlier one."""

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..cache import SpaceClipError, is_begun
from .facts import CheckpointFacts, SavedMapsFacts
from .protocol import Protocol
from .result_files import RESULTS, read_results
from .results import Results

# Seconds; no file of ours takes as long to be written.
_ORPHANED = 60.0


def require_free(
    folder: Path, model: CheckpointFacts | SavedMapsFacts, scored: Collection[tuple[str, Protocol]]
) -> None:
    """Refuse a folder whose result would be lost.

    Nothing is lost where the same model is scored again, on the same samples by every protocol of that result; nor
    where the result is of weights that were replaced in their own place since.

    Args:
        folder: Where a result shall go.
        model: What is to be scored.
        scored: By which protocols, each with the digest of the samples.

    Raises:
        SpaceClipError: The folder holds another finished result, or one of another version.
    """
    if not (folder / RESULTS).exists():
        return
    with suppress(SpaceClipError):
        if _is_made_again(read_results(folder), model, scored):
            return
    raise SpaceClipError(f"{folder} holds a finished result: give another --out, or --force to replace it")


def sweep_folder(folder: Path, names: Collection[str]) -> None:
    """Delete what killed runs began of files of these names."""
    for begun in (file for name in names for file in folder.glob(f".{name}.*") if is_begun(file.name)):
        with suppress(FileNotFoundError):
            if time.time() - begun.stat().st_mtime > _ORPHANED:
                begun.unlink()


def _is_made_again(
    result: Results, model: CheckpointFacts | SavedMapsFacts, scored: Collection[tuple[str, Protocol]]
) -> bool:
    if Path(result.model.path).resolve() != Path(model.path).resolve():
        return False
    old = result.model.model_copy(update={"path": model.path})
    if isinstance(old, CheckpointFacts) and isinstance(model, CheckpointFacts) and old.sha256 != model.sha256:
        return True
    return old == model and {(row.samples_sha256, row.protocol) for row in result.rows} <= set(scored)
