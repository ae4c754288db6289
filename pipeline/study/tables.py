"""A study's results as tables: in Markdown for people, in LaTeX for papers, as csv for programs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...evaluate import METRIC_LABELS, METRICS, csv_text, latex_file, latex_table, latex_text, markdown_table
from .results import ArmResult, Spread, StudyResults

MEANS = "Mean ± sample deviation over the seeds."
PAIRED = "Differences are paired by seed; *agree*: for how many seeds one has the sign of the mean."

_CHOSEN_BY = "abs_rel"
_IN_PRINT = ("abs_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3")
"""Metrics that fit on a printed page with their deviations."""


def markdown(results: StudyResults) -> str:
    """All metrics of each arm; AbsRel of each seed, and what differs from the first arm; what went wrong."""
    arms, first, on_test = results.arms, results.arms[0], results.on_test
    parts = [
        f"# {results.study}",
        results.caption,
        "\n".join(f"- {arm.name}: {settings_of(arm, first)}" for arm in arms),
        *_markdown_tables(results),
        "## Test split",
        results.test_caption,
        *(_markdown_tables(on_test) if on_test else ()),
    ]
    notes = "\n".join(f"- {note}".replace("*", "\\*") for note in notes_of(results))
    return "\n\n".join(filter(None, (*parts, notes))) + "\n"


def _markdown_tables(results: StudyResults) -> tuple[str, ...]:
    return markdown_table(*arms_table(results)), MEANS, markdown_table(*seeds_table(results)), PAIRED


def latex(results: StudyResults) -> str:
    """The metrics of each arm, and how they differ from the first, for documents with the package booktabs."""
    tables = _latex_tables(results, results.caption)
    if results.on_test:
        tables += _latex_tables(results.on_test, results.test_caption)
    return latex_file(tables)


def _latex_tables(results: StudyResults, caption: str) -> list[str]:
    arms, first, labels = results.arms, results.arms[0], [METRIC_LABELS[name] for name in _IN_PRINT]
    names = [latex_text(arm.name) + "*" * any(run.note for run in arm.runs) for arm in arms]
    numbers = "r" * len(_IN_PRINT)
    tables = [
        latex_table(
            f"{results.study}: {caption} {MEANS}",
            f"lr{numbers}",
            ["Arm", "Parameters", *labels],
            [[[name, f"{arm.parameters:,}", *_printed(arm.metrics)] for name, arm in zip(names, arms, strict=True)]],
            [
                latex_text(line)
                for line in (*(f"{arm.name}: {settings_of(arm, first)}" for arm in arms), *notes_of(results))
            ],
        ),
        latex_table(
            f"{results.study}: differences from {first.name}, paired by seed. {MEANS} Agree: for how many seeds the "
            f"difference of {METRIC_LABELS[_CHOSEN_BY].split()[0]} has the sign of the mean.",
            f"l{numbers}r",
            ["Arm", *labels, "Agree"],
            [
                [
                    [name, *_printed(arm.differences, "+"), _difference(arm)[1]]
                    for name, arm in zip(names[1:], arms[1:], strict=True)
                ]
            ],
            [],
        ),
    ]
    return tables if arms[1:] else tables[:1]


def _printed(spreads: Mapping[str, Spread], sign: str = "") -> Iterator[str]:
    for name in _IN_PRINT:
        text = spread_text(spreads.get(name), sign).replace("±", r"\pm")
        yield text if text == "-" else f"${text}$"


def arms_table(results: StudyResults) -> tuple[list[str], list[list[str]]]:
    """Header and cells: all metrics of each arm."""
    header = ["Arm", "Parameters", *(METRIC_LABELS[name] for name in METRICS)]
    return header, [
        [arm.name, f"{arm.parameters:,}", *(spread_text(arm.metrics.get(name)) for name in METRICS)]
        for arm in results.arms
    ]


def seeds_table(results: StudyResults) -> tuple[list[str], list[list[str]]]:
    """Header and cells: AbsRel of each seed, and what differs from the first arm."""
    label, first = METRIC_LABELS[_CHOSEN_BY], results.arms[0]
    header = [label, *(f"seed {seed}" for seed in results.seeds), f"less “{first.name}”", "Agree"]
    return header, [[arm.name, *_each_seed(arm), *_difference(arm)] for arm in results.arms]


def csv(results: StudyResults) -> str:
    """A row for each run."""
    return csv_text(
        [
            "arm",
            "parameters",
            "seed",
            "status",
            "weights",
            "epoch",
            *METRICS,
            *(f"test_{name}" for name in METRICS),
            "note",
        ],
        [
            [
                *(arm.name, arm.parameters, run.seed, run.status, run.weights, run.epoch),
                *(scores.get(name) for scores in (run.metrics, run.test) for name in METRICS),
                run.note,
            ]
            for arm in results.arms
            for run in arm.runs
        ],
    )


def numbers(results: StudyResults) -> dict[str, dict[str, float]]:
    """The mean of what arms are compared by first, on validation and on the test split, as DVC's metrics."""
    means = {_CHOSEN_BY: results.arms, f"test_{_CHOSEN_BY}": results.on_test.arms if results.on_test else []}
    return {
        name: {arm.name: arm.metrics[_CHOSEN_BY].mean for arm in arms if arm.metrics}
        for name, arms in means.items()
        if arms
    }


def own_settings(own: Mapping[str, Any]) -> str:
    """The settings that tell an arm from the base, in a line."""
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in own.items()) or "as the base"


def settings_of(arm: ArmResult, first: ArmResult) -> str:
    """Its own settings, and what it starts from of the first one's initial weights."""
    settings, same = own_settings(arm.own), arm.start.parameters
    if arm is first:
        return settings
    share = "all" if same == arm.parameters else f"{same:,} of {arm.parameters:,}"
    return f"{settings}; {share} parameters start as those of {first.name}"


def spread_text(spread: Spread | None, sign: str = "") -> str:
    """Mean and sample deviation."""
    if spread is None:
        return "-"
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.4f}"
    return f"{spread.mean:{sign}.4f}{deviation}"


def _each_seed(arm: ArmResult) -> Iterator[str]:
    for run in arm.runs:
        number = f"{run.metrics[_CHOSEN_BY]:.4f}" if run.metrics else run.status
        yield f"{number} *" if run.note else number


def _difference(arm: ArmResult) -> tuple[str, str]:
    spread = arm.differences.get(_CHOSEN_BY)
    return (spread_text(spread, "+"), f"{spread.agree} of {spread.seeds}") if spread else ("-", "-")


def notes_of(results: StudyResults) -> Iterator[str]:
    """What went wrong, a line each; of single runs behind an asterisk; last the warnings on the test split."""
    for arm in results.arms:
        for run in arm.runs:
            if run.note:
                yield f"* {arm.name}, seed {run.seed}: {run.note}"
        if (trained := sum(run.status == "trained" for run in arm.runs)) < len(arm.runs):
            yield f"{arm.name}: the numbers are of {trained} of {len(arm.runs)} seeds"
    yield from _test_warnings(results)


def _test_warnings(results: StudyResults) -> Iterator[str]:
    """What makes numbers of the test split mean less than they seem to, each once, behind the runs that it is of."""
    found: dict[str, dict[str, list[str]]] = {}
    for arm in results.arms:
        for run in arm.runs:
            for text in run.warnings:
                found.setdefault(text, {}).setdefault(arm.name, []).append(str(run.seed))
    for text, arms in found.items():
        of = ", ".join(f"{name} seed{'s' * (len(seeds) > 1)} {' '.join(seeds)}" for name, seeds in arms.items())
        yield f"Warning, on the test split {of}: {text}"
