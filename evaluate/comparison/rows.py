"""Our results beside the published ones, as rows that any format can show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby

from ..metrics import METRICS
from ..protocol import Protocol
from ..results import CheckpointFacts, Results, Row
from .comparable import BESIDE, HELD_OUT_IMAGES, footnotes, published_protocol, unlike
from .published import Constraint, Published, published, published_columns


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        method: Its name; of ours, the name of the result.
        variant: What tells rows of one method and protocol apart, in a few words.
        constraint: See `Published.constraint`.
        ours: Whether this project measured it.
        protocol: Name of the protocol.
        setting: All that it was measured under; None where that was not printed.
        images: How many were scored; None where that was not printed.
        metrics: By name; Decimal with the printed digits, float of ours, None where nothing was reported.
        sd: Standard deviation over the seeds, where printed.
        seeds: Of the runs behind a mean.
        source: Where the number comes from.
        beside: Protocol of the published rows that this row of ours may stand beside; empty if there are none.
        unlike: Why there are none, a few words each.
        origin: What made a row of ours: weights and encoder.
        note: Of a published row where it is printed, of ours what was measured and beside what it may stand.
    """

    method: str
    constraint: Constraint
    ours: bool
    protocol: str
    setting: Protocol | None
    images: int | None
    metrics: Mapping[str, Decimal | float | None]
    source: str
    note: str
    origin: str = ""
    variant: str = ""
    sd: Mapping[str, Decimal] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    beside: str = ""
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The table of one data set: published lines in the paper's order, then ours.

    Attributes:
        data: Kind of the data set.
        columns: Names of the metrics shown.
        lines: Its rows.
        footnotes: What a reader must know of the whole table, a few sentences each.
    """

    data: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[str, ...]

    @property
    def groups(self) -> list[list[Line]]:
        """The lines in order, cut where the published protocol or our result changes."""
        key = {True: lambda line: line.method, False: lambda line: line.protocol}
        return [list(group) for _, group in groupby(self.lines, lambda line: (line.ours, key[line.ours](line)))]

    @property
    def origins(self) -> dict[str, str]:
        """What made our rows, by name of the result."""
        return {line.method: line.origin for line in self.lines if line.ours}

    @property
    def notes(self) -> list[str]:
        """The notes of all lines in order, each once; they are numbered from 1."""
        return list(dict.fromkeys(line.note for line in self.lines))

    def number(self, line: Line) -> int:
        """Number of the note of a line."""
        return self.notes.index(line.note) + 1


def comparison(
    named: Sequence[tuple[str, Results]],
    data: str | None = None,
    constraints: Mapping[str, Constraint] | None = None,
) -> list[Section]:
    """Results beside published ones, a section for each data set that has results.

    Args:
        named: Results with the name that each shall have in the table.
        data: This data set alone.
        constraints: Labels of saved maps, by name; `N/A` for those not in it. A checkpoint is always `TFI-FB`.
    """
    found = {results.data for _, results in named if data in (None, results.data)}
    known = [kind for kind in published_columns() if kind in found]
    sections = []
    for kind in known + sorted(found - set(known)):
        lines = [_published_line(row) for row in published(kind)]
        lines += [
            _our_line(name, results, row, (constraints or {}).get(name, "N/A"))
            for name, results in named
            if results.data == kind
            for row in results.rows
        ]
        columns = published_columns().get(kind, tuple(metric for metric in METRICS if metric != "silog"))
        sections.append(Section(kind, columns, tuple(lines), footnotes(kind)))
    return sections


def _published_line(row: Published) -> Line:
    seeds = f"; mean ± standard deviation over the seeds {', '.join(map(str, row.seeds))}" if row.seeds else ""
    return Line(
        method=row.method,
        constraint=row.constraint,
        ours=False,
        protocol=row.protocol,
        setting=published_protocol("paper", row.data) if row.protocol == "paper" else None,
        images=HELD_OUT_IMAGES[row.data] if row.protocol == "controlled" else None,
        metrics=row.metrics,
        sd=row.sd,
        seeds=row.seeds,
        source=row.source,
        note=f"{row.source}{seeds}.{f' {row.note}.' if row.note else ''}",
    )


def _our_line(name: str, results: Results, row: Row, constraint: Constraint) -> Line:
    protocol, reasons = row.protocol, unlike(results, row)
    beside = "" if reasons else BESIDE[protocol.name]
    verdict = f"Not comparable: {'; '.join(reasons)}" if reasons else f"Beside: {_rows_of(beside)}"
    variant = ["plain"] * (protocol.flip_average is False) + ["median"] * protocol.median_scaling
    return Line(
        method=name,
        variant=", ".join(variant),
        constraint="TFI-FB" if isinstance(results.model, CheckpointFacts) else constraint,
        ours=True,
        protocol=protocol.name,
        setting=protocol,
        images=row.images,
        metrics=row.metrics,
        source=f"this run: {results.model.path}",
        origin=results.origin.replace("\n", "; "),
        beside=beside,
        unlike=reasons,
        note=f"{protocol.label}; {row.count}. {verdict}.",
    )


def _rows_of(protocol: str) -> str:
    return "the reported rows" if protocol == "reported" else f"SPACE-CLIP ({protocol})"
