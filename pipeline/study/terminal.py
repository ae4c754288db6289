"""A study on a terminal: what most readers look for first; all else is in its files."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...evaluate import METRIC_LABELS
from .arm_results import ArmResult
from .notes import notes_of
from .results import StudyResults
from .tables import BEST_WITHOUT, settings_of, spread_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WIDTH = 99
"""Columns, where the terminal does not say how many it has."""

_SHOWN = ("abs_rel", "rmse", "delta1")


def study_tables(results: StudyResults) -> "Iterator[RenderableType]":
    """Settings of the arms, a table for each split with the differences to the first arm, and notes."""
    from rich.text import Text

    first, on_test = results.arms[0], results.on_test
    yield Text("\n".join((results.study, *(f"  {arm.name}: {settings_of(arm, first)}" for arm in results.arms))))
    yield _table(results, "Validation split", results.caption)
    yield _table(on_test, "Test split", results.test_caption) if on_test else Text(results.test_caption)
    yield from map(Text, notes_of(results))


def _table(results: StudyResults, title: str, caption: str) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", caption=Text(caption), caption_justify="left")
    table.box, table.padding, table.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    table.add_column("Arm", overflow="fold", min_width=len(BEST_WITHOUT))
    for name in _SHOWN:
        table.add_column(METRIC_LABELS[name], justify="right", no_wrap=True)
    first, *others = results.arms
    if others:
        table.add_column(Text(f"AbsRel minus that of “{first.name}”"), justify="right", overflow="fold", max_width=16)
        table.add_column("Agree", justify="right", no_wrap=True)
    for arm in results.arms:
        cells = [spread_text(arm.metrics.get(name)) for name in _SHOWN]
        table.add_row(*map(Text, (arm.name, *cells, *(_difference(arm) if others else ()))))
    if without := results.image_free:
        table.add_row(BEST_WITHOUT, *(f"{without[name]:.4f}" for name in _SHOWN))
    return table


def _difference(arm: ArmResult) -> tuple[str, str]:
    """To the first arm, and how many seeds have its sign."""
    spread = arm.differences.get(_SHOWN[0])
    if spread is None:
        return "", ""
    return spread_text(spread, "+"), "same" if spread.same else f"{spread.agree} of {spread.seeds}"
