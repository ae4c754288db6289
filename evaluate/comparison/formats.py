"""A comparison on a terminal, in Markdown, in LaTeX and as csv."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from ..csv_text import csv_text
from ..latex import latex_file, latex_table, latex_text
from ..metrics import METRICS
from ..results import DATA_NAMES
from .rows import Line, Section

if TYPE_CHECKING:
    from rich.console import RenderableType

_FACTS = ("Method", "Constraint", "Protocol", "Beside")
_HEADINGS = {
    "abs_rel": "AbsRel ↓",
    "sq_rel": "SqRel ↓",
    "mae": "MAE ↓",
    "rmse": "RMSE ↓",
    "rmse_log": "RMSE log ↓",
    "log10": "log10 ↓",
    "delta1": "δ1 ↑",
    "delta2": "δ2 ↑",
    "delta3": "δ3 ↑",
    "boundary_0.05_abs_rel": "Boundary AbsRel ↓",
}
# Below this width a terminal shows the metrics that most readers look for.
_WIDE = 115
_FEW = ("abs_rel", "rmse", "delta1")


def terminal(section: Section, width: int) -> "Iterator[RenderableType]":
    """The table, its notes and its footnotes, for a terminal of `width` columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = section.columns if width >= _WIDE else tuple(name for name in section.columns if name in _FEW)
    table = Table(title=f"{_title(section)} (▸ ours)", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    # A study's title says its protocol.
    shown = [at for at, heading in enumerate(_FACTS) if heading != "Protocol" or not section.study]
    for heading in (_FACTS[at] for at in shown):
        table.add_column(f"\n{heading}" if heading != "Constraint" else "Con-\nstraint", no_wrap=heading != "Method")
    for name in columns:
        table.add_column("\n".join(_HEADINGS[name].split(maxsplit=1)), justify="right", no_wrap=True)
    table.add_column("\nNote", justify="right", no_wrap=True)
    for group in section.groups:
        for line in group:
            numbers = [cell(line, name).replace("±", "\n±") for name in columns]
            facts = _facts(line)
            cells = [*(facts[at] for at in shown), *numbers, str(section.number(line))]
            cells[0] = f"▸ {cells[0]}" if line.ours else cells[0]
            table.add_row(*map(Text, cells), style="bold" if line.ours else None)
        table.add_section()
    yield table
    for warning in section.warnings:
        yield Text(f"Warning: {warning}\n", style="bold")
    notes = Table.grid(padding=(0, 1))
    for mark, text in _notes(section):
        notes.add_row(Text(mark), Text(text))
    yield notes
    if columns != section.columns:
        yield Text(f"\n{len(columns)} of {len(section.columns)} metrics: the terminal is narrow.", style="bold")
    for footnote in section.footnotes:
        yield Text(f"\n{footnote}", style="dim")
    yield ""


def cells(section: Section) -> tuple[str, list[str], list[list[str]], list[str]]:
    """The title, the header, the cells of each line, and the notes that their last cells number, as plain text."""
    header = [*_FACTS, *(_HEADINGS[name] for name in section.columns), "Note"]
    lines = [
        [*_facts(line), *(cell(line, name) for name in section.columns), f"[{section.number(line)}]"]
        for line in section.lines
    ]
    notes = [f"{mark} {text}".strip() for mark, text in _notes(section)]
    return _title(section), header, lines, [*notes, *section.footnotes]


def markdown(sections: Sequence[Section]) -> str:
    """A document with a table for each data set; our rows are bold."""
    return "\n".join(map(_markdown_section, sections))


def _markdown_section(section: Section) -> str:
    head = [*_FACTS, *(_HEADINGS[name] for name in section.columns), "Note"]
    rule = ["---"] * len(_FACTS) + ["---:"] * (len(section.columns) + 1)
    lines = [f"## {_title(section)}", "", "Rows in bold are ours.", "", _piped(head), _piped(rule)]
    for line in section.lines:
        cells = [_markdown_text(text) for text in _facts(line)] + [cell(line, name) for name in section.columns]
        cells = [f"**{text}**" if line.ours else text for text in cells]
        lines.append(_piped([*cells, f"[{section.number(line)}]"]))
    lines += ["", *(f"**Warning: {_markdown_text(warning)}**\n" for warning in section.warnings)]
    lines += [*(f"* {mark} {_markdown_text(text)}".replace("  ", " ") for mark, text in _notes(section))]
    lines += [text for footnote in section.footnotes for text in ("", _markdown_text(footnote))]
    return "\n".join(lines) + "\n"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def latex(sections: Sequence[Section]) -> str:
    """A `table*` for each data set, for documents with the package booktabs; our rows are bold."""
    return latex_file(map(_latex_section, sections))


def _latex_section(section: Section) -> str:
    warnings = [rf"\textbf{{Warning: {latex_text(text)}}}" for text in section.warnings]
    notes = [f"{mark} {text}".strip() for mark, text in _notes(section)]
    return latex_table(
        f"{_title(section)}. Rows in bold are ours.",
        f"{'l' * len(_FACTS)}{'r' * (len(section.columns) + 1)}",
        [*_FACTS, *(_HEADINGS[name] for name in section.columns), "Note"],
        [[_latex_cells(section, line) for line in group] for group in section.groups],
        [*warnings, *map(latex_text, (*notes, *section.footnotes))],
    )


def _latex_cells(section: Section, line: Line) -> list[str]:
    cells = [latex_text(text) for text in (*_facts(line), *(cell(line, name) for name in section.columns))]
    return [*(rf"\textbf{{{text}}}" if line.ours and text else text for text in cells), str(section.number(line))]


def comma_separated(sections: Sequence[Section]) -> str:
    """One line a row, each fact in a column of its own; empty where it was not printed or does not apply."""
    setting = ("crop", "size", "min_depth", "max_depth", "kb_crop", "truth", "flip_average", "median_scaling")
    metrics = (*METRICS, *(name for name in _HEADINGS if name not in METRICS))
    last = ("seeds", "abs_rel_by_seed", "source", "origin", "beside", "not_comparable", "scored_otherwise")
    lines = []
    for section in sections:
        for line in section.lines:
            facts = [section.data, line.method, line.ours, line.constraint, line.protocol, *_setting(line)]
            numbers = [values.get(name) for values in (line.metrics, line.sd) for name in metrics]
            seeds = [" ".join(map(str, values)) for values in (line.seeds, line.by_seed)]
            verdict = [line.source, line.origin, line.beside, "; ".join(line.unlike), line.otherwise]
            lines.append([*facts, line.images, line.quarantined, line.storage, *numbers, *seeds, *verdict])
    facts = ("data", "method", "ours", "constraint", "protocol", *setting, "images", "quarantined", "features")
    return csv_text((*facts, *metrics, *(f"{name}_sd" for name in metrics), *last), lines)


def _setting(line: Line) -> list[object]:
    protocol = line.setting
    if protocol is None:
        return [None] * 8
    size = "native" if protocol.size is None else "{}x{}".format(*protocol.size)
    scaling = None if line.protocol == "paper" and not line.ours else protocol.median_scaling
    truth = [protocol.crop, size, protocol.min_depth, protocol.max_depth, protocol.kb_crop, protocol.truth]
    return [*truth, protocol.flip_average, scaling]


def cell(line: Line, name: str) -> str:
    """A number as a table shows it: published ones with the digits they were printed with, ours with four decimals."""
    value = line.metrics.get(name)
    if value is None:
        return "-"
    return f"{_digits(value)}±{_digits(line.sd[name])}" if name in line.sd else _digits(value)


def _digits(value: Decimal | float) -> str:
    return str(value) if isinstance(value, Decimal) else f"{value:.4f}"


def _facts(line: Line) -> tuple[str, str, str, str]:
    variant = f" ({line.variant})" if line.variant else ""
    beside = (line.beside or "none") if line.ours else ""
    return f"{line.method}{variant}", line.constraint, line.protocol, beside


def _notes(section: Section) -> list[tuple[str, str]]:
    """Each note with its mark, then what made our rows."""
    notes = [(f"[{number}]", note) for number, note in enumerate(section.notes, 1)]
    return notes + [("", f"{name}: {origin}.") for name, origin in section.origins.items()]


def _title(section: Section) -> str:
    study = f", {section.study} study" if section.study else ""
    return f"Monocular depth on {DATA_NAMES.get(section.data, section.data)}{study}"
