"""Tables as csv that a spreadsheet opens as text and numbers, never as formulas."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t")


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A table with a header; text that a spreadsheet would run as a formula gets an apostrophe before it.

    Numbers stay as they are; None becomes an empty cell, a carriage return (which would end the line) a space.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([_as_text(cell) for cell in line] for line in lines)
    return text.getvalue()


def _as_text(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text
