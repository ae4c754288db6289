"""Our results beside the published ones, as rows that any format can show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby

from ..facts import CheckpointFacts
from ..metrics import METRICS
from ..protocol import Protocol
from ..results import Results, Row
from .comparable import BESIDE, footnotes, published_protocol, scored_otherwise, unlike
from .published import Constraint, Published, published, published_columns, published_data, published_test_sets


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
        metrics: By name (AbsRel of a boundary or interior as `boundary_0.05_abs_rel`); Decimal with the printed digits,
            float of ours, None where nothing was reported.
        sd: Sample standard deviation over the seeds, where printed.
        seeds: Of the runs behind a mean.
        by_seed: AbsRel of each of these runs, where printed.
        source: Where the number comes from.
        quarantined: How many images of ours extraction could not read.
        storage: How the features behind a row of ours are kept; None for saved maps.
        beside: Protocol of the published rows that this row of ours may stand beside; empty if there are none.
        unlike: Why there are none, a few words each.
        otherwise: In what a row of ours was not scored as the first one of its protocol, a sentence; else empty.
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
    by_seed: tuple[Decimal, ...] = ()
    quarantined: int | None = None
    storage: str | None = None
    beside: str = ""
    unlike: tuple[str, ...] = ()
    otherwise: str = ""


@dataclass(frozen=True)
class Section:
    """A table of one data set: published lines in the paper's order, then ours.

    Attributes:
        data: Kind of the data set.
        study: Protocol of the published rows, where they have a table of their own; empty for all others.
        columns: Names of the metrics shown.
        lines: Its rows.
        footnotes: What a reader must know of the whole table, a few sentences each.
    """

    data: str
    study: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[str, ...]

    @property
    def groups(self) -> list[list[Line]]:
        """The lines in order, cut where the published protocol or our result changes."""
        key = {True: lambda line: line.method, False: lambda line: line.protocol}
        return [list(group) for _, group in groupby(self.lines, lambda line: (line.ours, key[line.ours](line)))]

    @property
    def comparable(self) -> "Section":
        """Our rows that may stand beside published ones, and those."""
        beside = {line.beside for line in self.lines}
        kept = tuple(line for line in self.lines if (line.beside if line.ours else line.protocol in beside))
        return replace(self, lines=kept)

    @property
    def warnings(self) -> list[str]:
        """Which of our rows were not scored alike, a sentence each, each once."""
        return list(dict.fromkeys(line.otherwise for line in self.lines if line.otherwise))

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
    """Results beside published ones, a section for each data set and study that has results.

    Args:
        named: Results with the name that each shall have in the table.
        data: This data set alone.
        constraints: Labels of saved maps, by name; `N/A` for those not in it. A checkpoint is always `TFI-FB`.
    """
    found: dict[tuple[str, str], list[Line]] = {}
    firsts: dict[tuple[str, str], tuple[str, Row]] = {}
    for name, results in named:
        for row in results.rows if data in (None, results.data) else ():
            first = firsts.setdefault((results.data, row.protocol.name), (name, row))
            line = _our_line(name, results, row, (constraints or {}).get(name, "N/A"))
            line = replace(line, otherwise=_otherwise(name, row, *first))
            found.setdefault((results.data, _study(results.data, line.protocol)), []).append(line)
    known = published_data()
    kinds = known + sorted({kind for kind, _ in found} - set(known))
    tables = sorted(found, key=lambda table: (kinds.index(table[0]), table[1]))
    return [_section(*table, found[table]) for table in tables]


def _section(data: str, study: str, ours: list[Line]) -> Section:
    theirs = [_published_line(row) for row in published(data) if _study(data, row.protocol) == study]
    columns = published_columns(data, study) or tuple(name for name in METRICS if name not in ("mae", "silog"))
    return Section(data, study, columns, (*theirs, *ours), footnotes(data, study))


def _study(data: str, protocol: str) -> str:
    """The study whose table a row belongs into: a protocol whose published rows have columns of their own."""
    return protocol if published_columns(data, protocol) != published_columns(data) else ""


def _published_line(row: Published) -> Line:
    seeds = ""
    if row.seeds:
        runs = ", ".join(f"{value} (seed {seed})" for seed, value in zip(row.seeds, row.by_seed, strict=True))
        seeds = f"; mean ± sample standard deviation over {len(row.seeds)} seeds, AbsRel {runs}"
    setting = None if row.protocol == "reported" else published_protocol(row.protocol, row.data)
    return Line(
        method=row.method,
        constraint=row.constraint,
        ours=False,
        protocol=row.protocol,
        setting=setting,
        images=published_test_sets()[row.data].images if row.protocol == "controlled" else None,
        metrics=row.metrics,
        sd=row.sd,
        seeds=row.seeds,
        by_seed=row.by_seed,
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
        quarantined=len(row.quarantined),
        storage=row.storage,
        metrics={**row.metrics, **row.regions_abs_rel},
        source=f"this run: {results.model.path}",
        origin=results.origin.replace("\n", "; "),
        beside=beside,
        unlike=reasons,
        note=f"{protocol.label}; {row.count}. {verdict}.{''.join(f' Warning: {text}.' for text in row.warnings)}",
    )


def _otherwise(name: str, row: Row, first_name: str, first: Row) -> str:
    reasons = scored_otherwise(row, first) if name != first_name else ()
    protocol = row.protocol.name
    return (
        f"{name} was not scored as {first_name} ({protocol}): {'; '.join(reasons)}. What their numbers differ by is no "
        "improvement of one over the other."
        if reasons
        else ""
    )


def _rows_of(protocol: str) -> str:
    return "the reported rows" if protocol == "reported" else f"SPACE-CLIP ({protocol})"
