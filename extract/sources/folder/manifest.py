"""Lists of samples: the field's plain lists, csv and jsonl."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from ....cache import SpaceClipError
from ...problems import counted, first_few, no_file

COLUMNS = ("image", "depth", "scene", "id", "split", "focal")

_NO_DEPTH = "None"
_LONGEST_NAME = 255
"""Letters of a file's name, on all usual file systems."""


@dataclass(frozen=True)
class Row:
    """One sample as its list names it.

    Attributes:
        image: Path below the images folder, with forward slashes.
        depth: Path below the depth folder; None for a sample without depth.
        scene: Name of the scene, if the list has it.
        id: Name of the sample, if the list has it.
        split: Name of the split, if the list has it.
        focal: Focal length in pixels, if the list has it.
    """

    image: str
    depth: str | None = None
    scene: str | None = None
    id: str | None = None
    split: str | None = None
    focal: float | None = None


@dataclass(frozen=True)
class Manifest:
    """The samples of one list, in its order.

    Attributes:
        rows: The samples, at least one.
        names_depth: Whether the list says which depth file belongs to an image, or that there is none.
    """

    rows: tuple[Row, ...]
    names_depth: bool


def read_manifest(path: Path) -> Manifest:
    """Read a `.csv` with a header, a `.jsonl`, or (any other suffix) a plain list.

    A plain list holds `image [depth [focal]]` a line, as the KITTI and NYU lists do, and `None` for no depth. Csv
    columns and jsonl keys are `COLUMNS`; only `image` is required. Leading slashes of paths are dropped, blank lines
    skipped.

    Raises:
        SpaceClipError: The file is missing, is not text, is empty, or a line is not understood.
    """
    if not path.is_file():
        raise SpaceClipError(f"the list {path} {no_file(path)}: check the path")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SpaceClipError(f"{path} is not a text file in UTF-8: expected a plain list, .csv or .jsonl") from error
    parse = {".csv": _csv_records, ".jsonl": _jsonl_records}.get(path.suffix.lower(), _list_records)
    records = list(parse(path, lines))
    if not records:
        raise SpaceClipError(f"the list {path} names no sample: expected one a line")
    rows = tuple(_row(where, record) for where, record in records)
    return Manifest(rows, names_depth=any("depth" in record for _, record in records))


def _list_records(path: Path, lines: list[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    fields = {number: line.split() for number, line in enumerate(lines, 1) if line.strip()}
    for number, found in fields.items():
        if len(found) > 3:
            raise SpaceClipError(
                f"{path}:{number} has {len(found)} fields: expected `image [depth [focal]]`; "
                "paths that hold spaces need a .csv or .jsonl list"
            )
    short = [number for number, found in fields.items() if len(found) == 1]
    if 0 < len(short) < len(fields):
        raise SpaceClipError(
            f"{path} names no depth on {counted(len(short), 'line')} (line {first_few(short)}) but does on the others: "
            f"write `{_NO_DEPTH}` for an image without depth"
        )
    for number, found in fields.items():
        yield f"{path}:{number}", dict(zip(("image", "depth", "focal"), found, strict=False))


def _csv_records(path: Path, lines: list[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        if len(set(header)) < len(header):
            raise SpaceClipError(f"{path}:1 names a column twice: {', '.join(header)}")
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise SpaceClipError(f"{where} has {len(cells)} fields: expected {len(header)}, as the header has")
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise SpaceClipError(f"{path}:{reader.line_num} is not csv ({error})") from error


def _jsonl_records(path: Path, lines: list[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SpaceClipError(f"{path}:{number} is not JSON ({error}): expected one object a line") from error
        if not isinstance(record, dict):
            raise SpaceClipError(f'{path}:{number} is not a JSON object: expected {{"image": ...}}')
        yield f"{path}:{number}", record


def _row(where: str, record: Mapping[str, object]) -> Row:
    for name in record:
        if name not in COLUMNS:
            near = get_close_matches(name.lower(), COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(COLUMNS)}"
            raise SpaceClipError(f"{where} has an unknown column {name!r:.99}: {hint}")
    text = {name: _text(where, name, value) for name, value in record.items()}
    image, depth, focal = text.get("image"), text.get("depth"), text.get("focal")
    if image is None:
        raise SpaceClipError(f"{where} names no image: expected a path in `image`")
    return Row(
        image=_path(where, image),
        depth=None if depth is None or depth == _NO_DEPTH else _path(where, depth),
        scene=text.get("scene"),
        id=text.get("id"),
        split=text.get("split"),
        focal=None if focal is None else _focal(where, focal),
    )


def _text(where: str, name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value).strip()
        if not any(letter < " " for letter in text):
            return text
    raise SpaceClipError(f"{where}: {name} is {value!r:.99}: expected text")


def _path(where: str, text: str) -> str:
    if "\\" in text:
        raise SpaceClipError(
            f"{where}: the path {text} holds a backslash: expected forward slashes, replace every \\ by / in the list"
        )
    path = PurePosixPath(text.lstrip("/"))
    if not path.name or path.name == ".." or any(len(part) > _LONGEST_NAME for part in path.parts):
        raise SpaceClipError(
            f"{where}: the path {text[:_LONGEST_NAME]!r} names no file: expected one below the images or depth folder"
        )
    return path.as_posix()


def _focal(where: str, text: str) -> float:
    try:
        focal = float(text)
    except ValueError:
        focal = math.nan
    if not 0 < focal < math.inf:
        raise SpaceClipError(
            f"{where}: focal is {text!r:.99}: expected a focal length in pixels, a number above 0 "
            "(is the path before it one that holds a space? that needs a .csv or .jsonl list)"
        )
    return focal
