"""Results on a terminal: for each protocol its variants beside the best prediction without an image."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from .metrics import METRIC_LABELS, METRICS, better
from .results import Results, Row

if TYPE_CHECKING:
    from rich.table import Table


def by_protocol(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each protocol, with what all of them share in one line."""
    for setting, found in groupby(results.rows, key=lambda row: row.protocol.setting):
        rows = list(found)
        scaled = any(row.protocol.median_scaling for row in rows)
        yield f"{setting}, {'median scaling where marked' if scaled else 'no median scaling'}", rows


def results_tables(results: Results) -> "Iterator[Table]":
    """One table a protocol; the title says what was measured, the caption on what and of whom."""
    from rich.table import Table
    from rich.text import Text

    for title, rows in by_protocol(results):
        warnings = [f"\nWarning: {columns}: {text}" for columns, text in warnings_of(rows, heading)]
        caption = f"{rows[0].count}\n{results.origin}{''.join(warnings)}"
        table = Table(
            title=Text(f"{results.title}, {title}"),
            title_justify="left",
            caption=Text(caption),
            caption_justify="left",
            min_width=72,
        )
        table.add_column("Metric")
        for row in rows:
            table.add_column(heading(row), justify="right")
        best = rows[0].best_baselines
        if best:
            table.add_column("best baseline", justify="right")
            table.add_column("which")
            table.add_column("improvement", justify="right")
        for name in METRICS:
            cells = [f"{row.metrics[name]:.4f}" for row in rows]
            if best:
                value = rows[0].baselines[best[name]][name]
                cells += [f"{value:.4f}", best[name], _improvement(name, rows[0].metrics[name], value)]
            table.add_row(METRIC_LABELS[name], *cells)
        _add_regions(table, rows)
        yield table


def warnings_of(rows: Iterable[Row], name: Callable[[Row], str]) -> Iterator[tuple[str, str]]:
    """Each warning once, behind the names of the rows that it is of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for text in row.warnings:
            found.setdefault(text, []).append(name(row))
    return ((" and ".join(names), text) for text, names in found.items())


def _add_regions(table: "Table", rows: list[Row]) -> None:
    """AbsRel of boundaries and interiors; all metrics stand in the files."""
    table.add_section()
    for region, first in rows[0].regions.items():
        if first.metrics is not None:
            found = [row.regions[region].metrics for row in rows]
            cells = [f"{metrics['abs_rel']:.4f}" if metrics else "-" for metrics in found]
            table.add_row(f"AbsRel, {region.replace('_', ' ')}", *cells)


def heading(row: Row) -> str:
    """The variant of a protocol that a row is of, as the head of its column."""
    flip = {True: "flip averaged", False: "plain view", None: "saved maps"}[row.protocol.flip_average]
    return f"{flip}, MEDIAN SCALED" if row.protocol.median_scaling else flip


def _improvement(name: str, value: float, baseline: float) -> str:
    if baseline == 0:
        return "-"
    return f"{100 * better(name) * (value - baseline) / baseline + 0.0:+.1f} %"
