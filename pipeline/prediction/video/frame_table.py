"""A video's frames as a table: when each is shown, and how much its depth flickers."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from .flicker import Change

_HEADER = "frame,seconds,unchanged,flicker,smoothed\n"


class Row(NamedTuple):
    """A frame: when it is shown, and what changed since the one before."""

    seconds: float
    change: Change


class FrameTable:
    """A CSV file of a row a frame; its name ends in `.part` until the video is whole.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._part = path, path.with_name(f"{path.name}.part")

    def read(self) -> tuple[list[Row], bool]:
        """The rows that are there, up to one that is not whole; and whether they are those of all frames."""
        rows: list[Row] = []
        is_part = self._part.exists()
        with suppress(OSError, ValueError):
            held = (self._part if is_part else self.path).read_text()
            for number, line in enumerate(held.splitlines(keepends=True)[1:], 1):
                frame, seconds, *change = line.split(",")
                if int(frame) != number or len(change) != len(Change._fields) or not line.endswith("\n"):
                    break
                rows.append(Row(float(seconds), Change(*map(float, change))))
        return rows, bool(rows) and not is_part

    def begin(self, rows: Sequence[Row]) -> Self:
        """Open it, to go on after these rows."""
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._rows, self._file = 0, self._part.open("w")
        self._file.write(_HEADER)
        for row in rows:
            self.add(row)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Write the row of the next frame."""
        self._rows += 1
        self._file.write(f"{self._rows},{row.seconds:.6f},{','.join(f'{value:.6g}' for value in row.change)}\n")
        self._file.flush()

    def finish(self) -> None:
        """The video is whole."""
        self._part.replace(self.path)
