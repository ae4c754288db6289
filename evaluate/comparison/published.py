"""The numbers that others published, read from `published.yaml`."""

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Constraint = Literal["N/A", "TC-FB", "TC-BU", "TFI-FB"]
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)
PublishedProtocol = Literal["reported", "paper", "controlled"]


class Published(BaseModel):
    """One published row.

    Attributes:
        data: `kitti` or `nyu`.
        method: Its name.
        constraint: What it asks of CLIP: `TFI-FB` text-free inference on a frozen backbone, `TC-FB` text-conditioned on
            a frozen one, `TC-BU` text-conditioned with the backbone updated, `N/A` where there is no CLIP.
        labelled: Who gave that label: the paper, or this project by what the method does.
        protocol: `paper` and `controlled` of SPACE-CLIP's own numbers; `reported` for others', by their own protocols.
        metrics: In the printed order and with the printed digits; None where nothing was reported.
        sd: Standard deviation over the seeds, of the metrics that have one.
        seeds: Of the runs that a mean was taken over; empty for a single number.
        source: Where it is printed.
        note: What a reader should know of this row alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    method: str
    constraint: Constraint
    labelled: Literal["paper", "ours"]
    protocol: PublishedProtocol
    metrics: dict[str, Decimal | None]
    sd: dict[str, Decimal]
    seeds: tuple[int, ...]
    source: str
    note: str


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    constraint: Constraint
    numbers: str
    note: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    protocol: PublishedProtocol
    source: str
    labelled: Literal["paper", "ours"]
    seeds: tuple[int, ...] = ()
    rows: tuple[_Row, ...] = Field(min_length=1)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, tuple[str, ...]]
    tables: tuple[_Table, ...]


def published_columns() -> dict[str, tuple[str, ...]]:
    """The metrics that the paper prints, by data set."""
    return _file().columns


def published(data: str) -> tuple[Published, ...]:
    """The published rows of a data set in the paper's order; none for a data set that nobody printed."""
    return tuple(
        _published(table, row, _file().columns[data])
        for table in _file().tables
        if table.data == data
        for row in table.rows
    )


def _published(table: _Table, row: _Row, columns: tuple[str, ...]) -> Published:
    means, deviations = {}, {}
    for name, number in zip(columns, row.numbers.split(), strict=True):
        mean, _, deviation = number.partition("±")
        means[name] = None if mean == "-" else Decimal(mean)
        if deviation:
            deviations[name] = Decimal(deviation)
    return Published(
        **table.model_dump(exclude={"rows"}), **row.model_dump(exclude={"numbers"}), metrics=means, sd=deviations
    )


@cache
def _file() -> _File:
    import yaml

    text = Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
    return _File.model_validate(yaml.safe_load(text))
