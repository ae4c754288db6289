"""Our results beside the published ones, as rows that any format can show."""

import statistics
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
class SeedRuns:
    """Results of one network trained with several seeds, which make one row of each protocol.

    Attributes:
        source: Folder of the runs.
        runs: By seed.
        note: What a reader should know of the runs, a few sentences; else empty.
    """

    source: str
    runs: Mapping[int, Results]
    note: str = ""


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
        sd: Sample standard deviation over the seeds, where known.
        seeds: Of the runs behind a mean.
        by_seed: AbsRel of each of these runs, where known.
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
    sd: Mapping[str, Decimal | float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    by_seed: tuple[Decimal | float, ...] = ()
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
    named: Sequence[tuple[str, Results | SeedRuns]],
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
    for name, given in named:
        results = next(iter(given.runs.values())) if isinstance(given, SeedRuns) else given
        for row in results.rows if data in (None, results.data) else ():
            first = firsts.setdefault((results.data, row.protocol.name), (name, row))
            line = _our_line(name, results, row, (constraints or {}).get(name, "N/A"))
            if isinstance(given, SeedRuns):
                line = _over_seeds(line, row.protocol, given)
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
    seeds = f"; {_each_seed(row.seeds, row.by_seed)}" if row.seeds else ""
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


def _each_seed(seeds: Sequence[int], values: Sequence[Decimal | float]) -> str:
    runs = ", ".join(f"{value:.5f} (seed {seed})" for seed, value in zip(seeds, values, strict=True))
    return f"mean ± sample standard deviation over {len(seeds)} seeds, AbsRel {runs}"


def _over_seeds(line: Line, protocol: Protocol, given: SeedRuns) -> Line:
    """The row of several seeds, from that of the first: beside published rows only where each of them may be."""
    rows = {seed: next(row for row in run.rows if row.protocol == protocol) for seed, run in given.runs.items()}
    found = [{**row.metrics, **row.regions_abs_rel} for row in rows.values()]
    by_name = {name: [one[name] for one in found] for name in found[0] if all(name in one for one in found)}
    reasons = tuple(dict.fromkeys(why for seed, row in rows.items() for why in unlike(given.runs[seed], row)))
    seeds, by_seed, row = tuple(rows), tuple(by_name["abs_rel"]), next(iter(rows.values()))
    by_text: dict[str, list[str]] = {}
    for seed, text in ((seed, text) for seed, one in rows.items() for text in one.warnings):
        by_text.setdefault(text, []).append(str(seed))
    warnings = [f"seed{'s' * (len(of) > 1)} {' '.join(of)}: {text}" for text, of in by_text.items()]
    return replace(
        line,
        metrics={name: statistics.fmean(values) for name, values in by_name.items()},
        sd={name: statistics.stdev(values) for name, values in by_name.items()} if len(rows) > 1 else {},
        seeds=seeds,
        by_seed=by_seed,
        source=f"this study: {given.source}",
        origin=f"{len(rows)} runs of {given.source}, the first {line.origin}",
        beside="" if reasons else BESIDE[protocol.name],
        unlike=reasons,
        note=_note(f"{protocol.label}; {row.count}; {_each_seed(seeds, by_seed)}", reasons, protocol, warnings)
        + f"{given.note and ' '}{given.note}",
    )


def _note(measured: str, reasons: Sequence[str], protocol: Protocol, warnings: Sequence[str]) -> str:
    verdict = f"Not comparable: {'; '.join(reasons)}" if reasons else f"Beside: {_rows_of(BESIDE[protocol.name])}"
    return f"{measured}. {verdict}.{''.join(f' Warning: {text}.' for text in warnings)}"


def _our_line(name: str, results: Results, row: Row, constraint: Constraint) -> Line:
    protocol, reasons = row.protocol, unlike(results, row)
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
        beside="" if reasons else BESIDE[protocol.name],
        unlike=reasons,
        note=_note(f"{protocol.label}; {row.count}", reasons, protocol, row.warnings),
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
