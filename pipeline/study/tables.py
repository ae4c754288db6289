"""A study's results as tables: in Markdown for people, in LaTeX for papers, as csv for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...evaluate import (
    METRIC_LABELS,
    METRICS,
    best_baselines,
    csv_text,
    latex_file,
    latex_table,
    latex_text,
    markdown_table,
)
from .arm_results import ArmResult, Spread
from .naming import quoted
from .notes import CHOSEN_BY, ORDER, notes_of, test_notes, validation_notes
from .results import StudyResults

BEST_WITHOUT = "best without an image"

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
    tables = markdown_table(*arms_table(results)), markdown_table(*seeds_table(results))
    return tables[0], means_text(results), tables[1], paired_text(results)


def means_text(results: StudyResults) -> str:
    """What must be known to read the table of arms."""
    deviation = "Mean ± sample deviation over the seeds." if len(results.seeds) > 1 else "Of one seed: no deviation."
    if not results.baselines:
        return (
            f"{deviation} The best prediction without an image is not known yet: `spaceclip study` adds it at its end."
        )
    best = dict.fromkeys(best_baselines(results.baselines).values())
    return f"{deviation} Best without an image: metric by metric the best of {', '.join(best)}."


def paired_text(results: StudyResults) -> str:
    """What must be known to read the table of seeds."""
    if len(results.seeds) == 1:
        return ""
    agree = "for how many seeds one has the sign of the mean; same: it is 0 in each"
    return f"Differences are paired by seed; agree: {agree}."


def latex(results: StudyResults) -> str:
    """The metrics of each arm, and how they differ from the first, for documents with the package booktabs."""
    settings = [f"{arm.name}: {settings_of(arm, results.arms[0])}" for arm in results.arms]
    tables = _latex_tables(results, results.caption, [*settings, *validation_notes(results)])
    if results.on_test:
        tables += _latex_tables(results.on_test, results.test_caption, list(test_notes(results)))
    return latex_file(tables)


def _latex_tables(results: StudyResults, caption: str, notes: Sequence[str]) -> list[str]:
    without = results.image_free
    arms, first, labels = results.arms, results.arms[0], [METRIC_LABELS[name] for name in _IN_PRINT]
    names = [latex_text(arm.name) + "*" * any(run.note for run in arm.runs) for arm in arms]
    numbers = "r" * len(_IN_PRINT)
    tables = [
        latex_table(
            f"{results.study}: {caption} {means_text(results)}",
            f"lr{numbers}",
            ["Arm", "Parameters", *labels],
            [
                [[name, f"{arm.parameters:,}", *_printed(arm.metrics)] for name, arm in zip(names, arms, strict=True)],
                *([[[BEST_WITHOUT, "", *(f"${without[name]:.4f}$" for name in _IN_PRINT)]]] if without else []),
            ],
            [latex_text(note) for note in notes],
        ),
        latex_table(
            f"{results.study}: differences from {first.name}, paired by seed. Agree: for how many seeds the "
            f"difference of {METRIC_LABELS[CHOSEN_BY].split()[0]} has the sign of the mean.",
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
    header, rows = seeds_table(results)
    seeds = latex_table(
        f"{results.study}: each seed. {caption} {paired_text(results)}".rstrip(),
        f"l{'r' * (len(header) - 1)}",
        header,
        [[[latex_text(cell) for cell in row] for row in rows]],
        [],
    )
    return [*(tables if arms[1:] else tables[:1]), seeds]


def _printed(spreads: Mapping[str, Spread], sign: str = "") -> Iterator[str]:
    for name in _IN_PRINT:
        text = spread_text(spreads.get(name), sign).replace("±", r"\pm")
        yield text if text == "-" else f"${text}$"


def arms_table(results: StudyResults) -> tuple[list[str], list[list[str]]]:
    """Header and cells: all metrics of each arm, and of the best prediction without an image where it is known."""
    header = ["Arm", *(METRIC_LABELS[name] for name in ORDER), "Parameters"]
    rows = [
        [arm.name, *(spread_text(arm.metrics.get(name)) for name in ORDER), f"{arm.parameters:,}"]
        for arm in results.arms
    ]
    if without := results.image_free:
        rows.append([BEST_WITHOUT, *(f"{without[name]:.4f}" for name in ORDER), "-"])
    return header, rows


def seeds_table(results: StudyResults) -> tuple[list[str], list[list[str]]]:
    """Header and cells: AbsRel of each seed, and what differs from the first arm."""
    label, first = METRIC_LABELS[CHOSEN_BY], results.arms[0]
    apart = [f"minus {quoted(first.name)}", "Agree"][: 2 if len(results.seeds) > 1 else 1]
    header = [label, *apart, *(f"seed {seed}" for seed in results.seeds)]
    return header, [[arm.name, *_difference(arm)[: len(apart)], *_each_seed(arm)] for arm in results.arms]


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
    means = {CHOSEN_BY: results.arms, f"test_{CHOSEN_BY}": results.on_test.arms if results.on_test else []}
    return {
        name: {arm.name: arm.metrics[CHOSEN_BY].mean for arm in arms if arm.metrics}
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
        number = f"{run.metrics[CHOSEN_BY]:.4f}" if run.metrics else run.status
        yield f"{number} *" if run.note else number


def _difference(arm: ArmResult) -> tuple[str, str]:
    spread = arm.differences.get(CHOSEN_BY)
    if spread is None:
        return "-", "-"
    agree = "one seed" if spread.seeds == 1 else f"{spread.agree} of {spread.seeds}"
    return spread_text(spread, "+"), "same" if spread.same else agree
