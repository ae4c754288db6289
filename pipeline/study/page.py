"""The page of a study: what was asked, the tables, every seed a point, curves, where the arms err, and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...evaluate import METRIC_LABELS, REGIONS, Breakdown, FeatureViews
from ...evaluate.report import (
    BOUNDARIES,
    RANDOM,
    Chart,
    Gallery,
    Page,
    Section,
    Table,
    chart,
    draw_by_place,
    draw_depths,
    draw_runs,
    draw_seeds,
    read_curves,
    render,
    seeds_height,
    training_settings,
    views_section,
)
from .decoded import DecodedArm
from .results import ArmResult, Spread, StudyResults
from .tables import MEANS, PAIRED, arms_table, notes_of, seeds_table, settings_of, spread_text

_DRAWN = ("abs_rel", "rmse", "delta1")
_CHOSEN_BY = "abs_rel"


def study_page(
    results: StudyResults,
    folder: Path,
    arms: Sequence[DecodedArm],
    gallery: Gallery | None = None,
    views: FeatureViews | None = None,
) -> str:
    """The page as HTML that needs nothing beside it.

    Args:
        results: The study's.
        folder: Of the study, for the histories of its runs.
        arms: Those that were decoded.
        gallery: What they predict; None without any.
        views: Layers of some of its images.

    Raises:
        SpaceClipError: A history is no table of this version.
    """
    first, others = results.arms[0], results.arms[1:]
    asked = f"What changes against {_quoted(first.name)}: {', '.join(_quoted(arm.name) for arm in others)}?"
    if not others:
        asked = f"How far do the scores of {_quoted(first.name)} vary with the seed?"
    page = Page(
        title=f"Study: {results.study}",
        asked=asked,
        measured=f"{results.caption} For this page no test image was looked at.",
        answered=answer(results),
        notices=[*([RANDOM] if results.backbone.random else []), *notes_of(results)],
        sections=list(_sections(results, folder)),
        gallery=gallery,
        details=list(_details(arms, gallery, views)),
        provenance=_provenance(results, arms),
    )
    return render(page)


def answer(results: StudyResults) -> str:
    """The arm of the lowest AbsRel, and which arms differ from the first in every seed."""
    first = results.arms[0]
    scored = [arm for arm in results.arms if _CHOSEN_BY in arm.metrics]
    if not scored:
        return "Nothing yet: no run is trained."
    lowest = min(scored, key=lambda arm: arm.metrics[_CHOSEN_BY].mean)
    found = lowest.metrics[_CHOSEN_BY]
    parts = [f"Lowest AbsRel on validation: {_quoted(lowest.name)}, {spread_text(found)} ({_seeds(found.seeds)})."]
    verdicts: dict[str, list[str]] = {}
    for arm in results.arms[1:]:
        if spread := arm.differences.get(_CHOSEN_BY):
            verdicts.setdefault(_verdict(spread), []).append(f"{_quoted(arm.name)} ({spread_text(spread, '+')})")
    told = [f"{verdict} for {', '.join(verdicts[verdict])}" for verdict in _VERDICTS if verdict in verdicts]
    if told:
        parts.append(f"Against {_quoted(first.name)} it is {'; '.join(told)}.")
    return " ".join(parts)


def _quoted(name: str) -> str:
    """An arm's name in a sentence: `both` and `none` are names too."""
    return f"“{name}”"


_VERDICTS = _LOWER, _HIGHER, _UNDECIDED, _SINGLE = (
    "lower in every seed",
    "higher in every seed",
    "lower in some seeds and higher in others",
    "known of a single seed",
)


def _verdict(spread: Spread) -> str:
    if spread.seeds == 1:
        return _SINGLE
    if spread.agree != spread.seeds:
        return _UNDECIDED
    return _LOWER if spread.mean < 0 else _HIGHER


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def _sections(results: StudyResults, folder: Path) -> Iterator[Section]:
    first, others = results.arms[0], results.arms[1:]
    arms = Table(*arms_table(results), caption=f"{MEANS} Numbers of a validation split stand beside no published row.")
    yield Section("Scores by arm", tables=[arms, Table(*seeds_table(results), caption=PAIRED.replace("*", ""))])
    on_test = results.on_test
    tables = [Table(*arms_table(on_test), caption=MEANS), Table(*seeds_table(on_test))] if on_test else []
    yield Section("Test split", [results.test_caption], tables)
    yield Section("Seeds", [_chance(results)], charts=[_values(results.arms), *_differences(first, others)])
    yield Section("Training", charts=list(_curves(results, folder)))


def _chance(results: StudyResults) -> str:
    count, chance = len(results.seeds), 2.0 ** (1 - len(results.seeds))
    agree = f"Were there no difference, all {count} seeds would still agree in sign in {chance:.0%} of cases."
    text = "A point is a seed; beside the points their mean and sample deviation."
    return f"{text} {agree if count > 1 else 'One seed says little.'}"


def _differences(first: ArmResult, others: Sequence[ArmResult]) -> Iterator[Chart]:
    for name in _DRAWN:
        apart = {arm.name: arm.apart(first, name) for arm in others}
        if any(apart.values()):
            zero = _quoted(first.name)
            label = f"{METRIC_LABELS[name]}: difference to {zero}"
            drawn = chart(partial(draw_seeds, arms=apart, label=label, zero=zero), seeds_height(len(apart)))
            yield Chart(drawn, f"{label}, by arm and seed")


def _values(arms: Sequence[ArmResult]) -> Chart:
    label = METRIC_LABELS[_CHOSEN_BY]
    values = {arm.name: [run.metrics[_CHOSEN_BY] for run in arm.runs if run.metrics] for arm in arms}
    return Chart(
        chart(partial(draw_seeds, arms=values, label=label), seeds_height(len(values))), f"{label} by arm and seed"
    )


def _curves(results: StudyResults, folder: Path) -> Iterator[Chart]:
    """The loss and the validation AbsRel of all runs; of each epoch that of the better weights, raw or averaged."""
    found = {
        arm.name: [curves for run in arm.runs if (curves := read_curves(folder / arm.name / f"seed{run.seed}"))]
        for arm in results.arms
    }
    loss = {name: [(one["epoch"], one["loss"]) for one in runs] for name, runs in found.items()}
    error = {
        name: [(one["epoch"], np.fmin(one["val_raw"], one["val_ema"]).tolist()) for one in runs]
        for name, runs in found.items()
    }
    if any(found.values()):
        height = 2.9 + 0.2 * (len(found) // 4)
        yield Chart(chart(partial(draw_runs, arms=loss, title="Training loss"), height), "Training loss of all runs")
        title = "Validation AbsRel, the better of raw and EMA weights"
        yield Chart(chart(partial(draw_runs, arms=error, title=title), height), f"{title}, of all runs")


def _details(arms: Sequence[DecodedArm], gallery: Gallery | None, views: FeatureViews | None) -> Iterator[Section]:
    if gallery:
        if views:
            yield views_section(views, gallery.scale)
        yield from _errors(arms, gallery.data)


def _errors(arms: Sequence[DecodedArm], data: str) -> Iterator[Section]:
    """Where the decoded runs err."""
    found = {arm.name: arm.row.breakdown for arm in arms if arm.row.breakdown}
    text = f"Of one run of each arm: {', '.join(f'{arm.name} seed {arm.seed}' for arm in arms)}."
    depths = chart(partial(draw_depths, arms=found, data=data), 3.4 + 0.2 * (len(found) // 4))
    yield Section("Error by depth", [text], charts=[Chart(depths, "AbsRel by true depth, a line for each arm")])
    yield Section("Error by place in the frame", [text], charts=list(_places(found)))
    yield Section("Error at boundaries", [BOUNDARIES, text], [_regions(arms)])


def _places(found: Mapping[str, Breakdown]) -> Iterator[Chart]:
    cells = [value for one in found.values() for row in one.by_place or () for value in row if value is not None]
    for name, one in found.items():
        draw = partial(draw_by_place, found=one, title=name, highest=max(cells))
        yield Chart(chart(draw, 2.6), f"AbsRel of {name} by place in the frame")


def _regions(arms: Sequence[DecodedArm]) -> Table:
    by_arm = {arm.name: {name: arm.row.regions[name].metrics for name in REGIONS} for arm in arms}
    present = [name for name in REGIONS if any(regions[name] for regions in by_arm.values())]
    header = ["AbsRel ↓", *(f"{name.replace('_', ' ')}" for name in present)]
    rows = [
        [arm, *(f"{mean[_CHOSEN_BY]:.4f}" if (mean := regions[name]) else "-" for name in present)]
        for arm, regions in by_arm.items()
    ]
    return Table(header, rows if present else [])


def _provenance(results: StudyResults, arms: Sequence[DecodedArm]) -> dict[str, dict[str, str]]:
    backbone, first = results.backbone, results.arms[0]
    facts = {
        "Study": {
            "Base": results.base,
            "Seeds": ", ".join(map(str, results.seeds)),
            **({"Looks": f"{results.test.looks}"} if results.test else {}),
            "Backbone": backbone.name,
            "Revision": backbone.revision,
            "Encoder weights": backbone.weights,
            **{f"Stores, {split}": ", ".join(stores) for split, stores in results.stores.items()},
        },
        "Arms": {arm.name: settings_of(arm, first) for arm in results.arms},
    }
    if arms:
        facts |= {f"{title}, {arms[0].name}": found for title, found in training_settings(arms[0].checkpoint).items()}
        facts["Time of the training runs; arms of a seed share theirs"] = {
            f"{arm.name}, seed {arm.seed}": str(arm.checkpoint.info.receipt or "not known") for arm in arms
        }
        facts["Weights, SHA-256"] = {f"{arm.name}, seed {arm.seed}": arm.checkpoint.info.sha256 for arm in arms}
        facts["The weights were made with"] = _made_with(arms)
    return facts


def _made_with(arms: Sequence[DecodedArm]) -> dict[str, str]:
    """By arms; runs may be added to a study with other code, elsewhere."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        if receipt := arm.checkpoint.info.receipt:
            made = "; ".join(f"{name} {value}" for name, value in receipt.made_with.items())
            found.setdefault(made, []).append(arm.name)
    return {", ".join(names): made for made, names in found.items() if made}
