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
from .answer import answer, chance
from .arm_results import ArmResult
from .decoded import DecodedArm
from .naming import quoted
from .notes import CHOSEN_BY, notes_of
from .results import StudyResults
from .tables import arms_table, means_text, paired_text, seeds_table, settings_of

_DRAWN = ("abs_rel", "rmse", "delta1")


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
    asked = f"What changes against {quoted(first.name)}: {', '.join(quoted(arm.name) for arm in others)}?"
    if not others:
        asked = f"How far do the scores of {quoted(first.name)} vary with the seed?"
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


def _sections(results: StudyResults, folder: Path) -> Iterator[Section]:
    first, others = results.arms[0], results.arms[1:]
    arms = Table(
        *arms_table(results),
        caption=f"{means_text(results)} Numbers of a validation split stand beside no published row.",
    )
    yield Section("Scores by arm", tables=[arms, Table(*seeds_table(results), caption=paired_text(results))])
    on_test = results.on_test
    tables = []
    if on_test:
        tables = [Table(*arms_table(on_test), caption=means_text(on_test)), Table(*seeds_table(on_test))]
    yield Section("Test split", [results.test_caption], tables)
    yield Section("Seeds", [chance(results)], charts=[_values(results), *_differences(first, others)])
    yield Section("Training", charts=list(_curves(results, folder)))


def _differences(first: ArmResult, others: Sequence[ArmResult]) -> Iterator[Chart]:
    for name in _DRAWN:
        apart = {arm.name: arm.apart(first, name) for arm in others}
        if any(apart.values()):
            zero = quoted(first.name)
            label = f"{METRIC_LABELS[name]}: difference to {zero}"
            drawn = chart(partial(draw_seeds, arms=apart, label=label, zero=zero), seeds_height(len(apart)))
            yield Chart(drawn, f"{label}, by arm and seed")


def _values(results: StudyResults) -> Chart:
    label = METRIC_LABELS[CHOSEN_BY]
    values = {arm.name: [run.metrics[CHOSEN_BY] for run in arm.runs if run.metrics] for arm in results.arms}
    draw = partial(draw_seeds, arms=values, label=label, beside=results.image_free.get(CHOSEN_BY))
    return Chart(chart(draw, seeds_height(len(values))), f"{label} by arm and seed")


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
        draw = partial(draw_by_place, found=one, title=f"AbsRel, {name}", highest=max(cells))
        yield Chart(chart(draw, 2.6), f"AbsRel of {name} by place in the frame")


def _regions(arms: Sequence[DecodedArm]) -> Table:
    by_arm = {arm.name: {name: arm.row.regions[name].metrics for name in REGIONS} for arm in arms}
    present = [name for name in REGIONS if any(regions[name] for regions in by_arm.values())]
    header = ["AbsRel ↓", *(f"{name.replace('_', ' ')}" for name in present)]
    rows = [
        [arm, *(f"{mean[CHOSEN_BY]:.4f}" if (mean := regions[name]) else "-" for name in present)]
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
