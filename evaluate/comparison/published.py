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
        sd: Sample standard deviation over the seeds, of the metrics that have one.
        seeds: Of the runs that a mean was taken over; empty for a single number.
        by_seed: AbsRel of each of these runs, where printed.
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
    by_seed: tuple[Decimal, ...]
    source: str
    note: str


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    constraint: Constraint
    numbers: str
    by_seed: str = ""
    note: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    protocol: PublishedProtocol
    source: str
    labelled: Literal["paper", "ours"]
    columns: tuple[str, ...] = ()
    note: str = ""
    seeds: tuple[int, ...] = ()
    rows: tuple[_Row, ...] = Field(min_length=1)


class PublishedTestSet(BaseModel):
    """What published rows of a data set were measured on.

    Attributes:
        images: Test images with ground truth.
        lists: SHA-256 of the lists that name them.
        chosen_on: Held-out images by which the controlled rows' weights were chosen; None without such rows.
        pixels: Of the controlled rows, by region: valid pixels of all images together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    lists: tuple[str, ...]
    chosen_on: int | None = None
    pixels: dict[str, int] = {}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, tuple[str, ...]]
    test_sets: dict[str, PublishedTestSet]
    tables: tuple[_Table, ...]


def published_columns(data: str, protocol: str | None = None) -> tuple[str, ...]:
    """The metrics printed of a data set under a protocol; none for a data set that nobody printed."""
    own = (table.columns for table in _file().tables if (table.data, table.protocol) == (data, protocol))
    return next(filter(None, own), _file().columns.get(data, ()))


def published_data() -> list[str]:
    """The data sets that have published rows."""
    return list(_file().columns)


def published_test_sets() -> dict[str, PublishedTestSet]:
    """What published rows were measured on, by data set."""
    return _file().test_sets


def published(data: str) -> tuple[Published, ...]:
    """The published rows of a data set in the paper's order; none for a data set that nobody printed."""
    return tuple(_published(table, row) for table in _file().tables if table.data == data for row in table.rows)


def _published(table: _Table, row: _Row) -> Published:
    means, deviations = {}, {}
    for name, number in zip(published_columns(table.data, table.protocol), row.numbers.split(), strict=True):
        mean, _, deviation = number.partition("±")
        means[name] = None if mean == "-" else Decimal(mean)
        if deviation:
            deviations[name] = Decimal(deviation)
    return Published(
        **table.model_dump(exclude={"rows", "columns", "note"}),
        **row.model_dump(exclude={"numbers", "by_seed", "note"}),
        metrics=means,
        sd=deviations,
        by_seed=tuple(map(Decimal, row.by_seed.split())),
        note=row.note or table.note,
    )


@cache
def _file() -> _File:
    import yaml

    text = Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
    return _File.model_validate(yaml.safe_load(text))
