"""What to know beside the numbers of a study: runs that failed, and numbers that mean less than they seem to."""

from collections.abc import Iterator

from ...evaluate import METRIC_LABELS, METRICS, no_better
from .naming import Run, named
from .results import StudyResults

CHOSEN_BY = "abs_rel"

ORDER = ("abs_rel", "rmse", "delta1", *(name for name in METRICS if name not in ("abs_rel", "rmse", "delta1")))
"""What is quoted most comes first: a phone shows no more."""


def notes_of(results: StudyResults) -> Iterator[str]:
    """What went wrong, a line for each reason with the runs that it is of; last what is of the test split alone."""
    yield from validation_notes(results)
    if results.others:
        yield f"Also in this folder, but not in the study's file and so in no table: {', '.join(results.others)}"
    yield from test_notes(results)


def validation_notes(results: StudyResults) -> Iterator[str]:
    """Of single runs, behind an asterisk; then what makes the numbers of validation mean less."""
    notes: dict[str, list[Run]] = {}
    for arm in results.arms:
        for run in arm.runs:
            if run.note:
                notes.setdefault(run.note, []).append((arm.name, run.seed))
    for note, runs in notes.items():
        yield f"* {named(runs, results.runs)}: {note}"
    yield from _no_better(results, "validation")


def test_notes(results: StudyResults) -> Iterator[str]:
    """What makes numbers of the test split mean less than they seem to, each once, behind the runs that it is of."""
    found: dict[str, list[Run]] = {}
    for arm in results.arms:
        for run in arm.runs:
            for text in run.warnings:
                found.setdefault(text, []).append((arm.name, run.seed))
    every = [(arm.name, run.seed) for arm in results.arms for run in arm.runs if run.test]
    for text, runs in found.items():
        yield f"On the test split, {named(runs, every)}: {text}"
    if results.on_test:
        yield from _no_better(results.on_test, "the test split")


def _no_better(results: StudyResults, split: str) -> Iterator[str]:
    """Runs that are no better than the best prediction without an image: by AbsRel, else by other metrics."""
    by_metric: dict[bool, dict[Run, list[str]]] = {True: {}, False: {}}
    every = [(arm.name, run.seed) for arm in results.arms for run in arm.runs if run.metrics]
    for arm in results.arms:
        for run in arm.runs:
            if worse := no_better(run.metrics, results.baselines) if run.metrics else []:
                by_metric[CHOSEN_BY in worse][arm.name, run.seed] = worse
    said = []
    if runs := by_metric[True]:
        said.append(f"by AbsRel: {named(runs, every)}")
    if runs := by_metric[False]:
        metrics = [METRIC_LABELS[name].rstrip(" ↓↑") for name in ORDER if any(name in worse for worse in runs.values())]
        each = " (one or more of these)" if len(metrics) > 1 else ""
        said.append(f"by {', '.join(metrics)}{each}: {named(runs, every)}")
    if said:
        yield f"On {split}, no better than the best prediction without an image {'; '.join(said)}"
