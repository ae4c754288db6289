"""The runs of a study as rows that stand beside others: those of an arm are one."""

from pathlib import Path

from ...cache import SpaceClipError
from ...evaluate import Results, read_results
from ...evaluate.comparison import SeedRuns
from .arm_results import RunResult
from .results import SplitFacts, read_study


def read_seed_runs(name: str, folder: Path) -> list[tuple[str, SeedRuns]]:
    """How the arms of a study were scored on the test split, each by its name behind the study's.

    Args:
        name: Of the study.
        folder: Its folder.

    Raises:
        SpaceClipError: No run was scored there, or one was trained or scored anew since the table was written.
    """
    study = read_study(folder)
    if study.test is None or study.on_test is None:
        raise SpaceClipError(f"{folder}: no run of this study stands beside others: {study.test_caption}")
    # Said once, behind the first arm.
    unscored = [f"No run of {arm.name} was scored." for arm in study.arms if not arm.test]
    found = list[tuple[str, SeedRuns]]()
    for arm in (arm for arm in study.arms if arm.test):
        runs = {run.seed: _read(folder / arm.name / f"seed{run.seed}", run, study.test) for run in arm.runs if run.test}
        notes = [_note(run) for run in arm.runs if run.note or not run.test] + ([] if found else unscored)
        found.append((f"{name}: {arm.name}", SeedRuns(str(folder / arm.name), runs, " ".join(notes))))
    return found


def _note(run: RunResult) -> str:
    if run.status == "open":
        return f"Seed {run.seed} is not trained yet."
    return f"Seed {run.seed} {run.status}{'' if run.test else ', not scored'}{run.note and ': '}{run.note}."


def _read(folder: Path, run: RunResult, test: SplitFacts) -> Results:
    """The results of a run, with the looks at the test split that the study's own table has."""
    found = read_results(folder)
    if run.test not in [row.metrics for row in found.rows if row.protocol == test.protocol]:
        raise SpaceClipError(f"{folder}: was scored anew since the table was written; give `spaceclip study` again")
    rows = [row.model_copy(update={"looks": row.looks and test.looks}) for row in found.rows]
    return found.model_copy(update={"rows": tuple(rows)})
