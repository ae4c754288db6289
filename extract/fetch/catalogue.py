"""What there is to fetch of a data set, read from `downloads.yaml`."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...cache import SpaceClipError
from ..yaml_file import read_yaml

ListName = Literal["train_list", "test_list"]
LISTS: tuple[ListName, ...] = get_args(ListName)

_TABLE = Path(__file__).with_name("downloads.yaml")
_DRIVE = re.compile(r"(\d{4}_\d{2}_\d{2}_drive_\d{4})(_sync)?")


def _address(text: str) -> str:
    if not re.match(r"https?://[^/\s]+", text):
        raise ValueError("expected an address that begins with http:// or https://")
    return text


def _sum(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("expected a SHA-256, 64 hexadecimal digits")
    return text.lower()


def _place(text: str) -> str:
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"found {text!r}, expected a place below the root")
    return text


Address = Annotated[str, AfterValidator(_address)]
Sum = Annotated[str, AfterValidator(_sum)]
Place = Annotated[str, AfterValidator(_place)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Entry):
    """Address and SHA-256 of one file; None where not known."""

    url: Address | None = None
    sha256: Sum | None = None


class ByHand(_Entry):
    """Where a person finds what no program can fetch, and what to do there."""

    page: str
    do: str


class Archive(_Entry):
    """What is taken out of a zip.

    Attributes:
        of: The lists that name the wanted files, and which of each line's files.
        members: Name in the zip -> place below the root, with {path} for the name in the list.
        elsewhere: Other places below the root where a file that is there already is found.
        count: Number of zips that the part's size is of.
        largest: Bytes of the largest of them; None where there is only one.
        files: Number of files that come out for the released lists.
        unpacked: Their bytes, about.
    """

    of: dict[ListName, tuple[Literal["image", "depth"], ...]]
    members: dict[str, Place]
    elsewhere: tuple[str, ...] = ()
    count: int = Field(default=1, ge=1)
    largest: int | None = None
    files: int = Field(default=1, ge=1)
    unpacked: int = Field(default=0, ge=0)


class Part(Source):
    """One thing to fetch.

    Attributes:
        what: In words.
        to: Place below the root; with {drive}, one file for each drive.
        size: Bytes to load.
        approximate: Whether the size is only about right.
        licence: Of this part, if not the data set's.
        drives: A drive's own address or sum.
        by_hand: For what only a person can fetch.
        archive: For a zip.
    """

    what: str
    to: Place
    size: int = Field(ge=0)
    approximate: bool = False
    licence: str | None = None
    drives: dict[str, Source] = {}
    by_hand: ByHand | None = None
    archive: Archive | None = None

    @property
    def by_drive(self) -> bool:
        """Whether it is one file for each drive."""
        return "{drive}" in self.to

    @model_validator(mode="after")
    def _check_drives(self) -> "Part":
        if self.by_drive and self.url is not None and "{drive}" not in self.url:
            raise ValueError(f"the address {self.url} is of one file: expected {{drive}} in it, for each drive's name")
        if self.by_drive and self.sha256 is not None:
            raise ValueError("a sum is of one file: give it by the drive's name, as 2011_09_26_drive_0001")
        return self


class Dataset(_Entry):
    """A data set and its parts, by name."""

    title: str
    licence: str
    cite: str
    parts: dict[str, Part]

    def choose(self, only: Sequence[str]) -> tuple[str, ...]:
        """Names of the chosen parts (`lists` for both lists; none given: all) and of the lists that they need.

        Raises:
            SpaceClipError: A name that the data set does not have.
        """
        wanted = {name for word in only for name in (LISTS if word == "lists" else (word,))} or set(self.parts)
        for name in wanted - set(self.parts):
            known = ["lists", *self.parts]
            raise SpaceClipError(f"{self.title} has no part {name!r}: {_hint(name, known)}")
        wanted |= {needed for name in wanted if (archive := self.parts[name].archive) for needed in archive.of}
        return tuple(name for name in self.parts if name in wanted)


def load_catalogue(
    name: str,
    table: Path | None = None,
    urls: Mapping[str, str] | None = None,
    sums: Mapping[str, str] | None = None,
) -> Dataset:
    """Read what there is to fetch of a data set.

    Args:
        name: Of the data set, `kitti` or `nyu`.
        table: A file of the shape of `downloads.yaml`, laid over it.
        urls: Addresses to take instead, by the part's or the drive's name.
        sums: SHA-256 to take instead, likewise.

    Raises:
        SpaceClipError: The table cannot be read, or it or a name is not understood.
    """
    content = _read(_TABLE)
    where = str(table or _TABLE.name)
    if table is not None:
        content = _overlay(content, _read(table))
    if not isinstance(content.get(name), dict):
        raise SpaceClipError(f"{where}: no data set {name!r}: {_hint(name, list(content))}")
    entry = content[name]
    try:
        dataset = Dataset.model_validate(entry)
    except ValidationError as error:
        place = ".".join(map(str, (name, *error.errors()[0]["loc"])))
        raise SpaceClipError(f"{where}: {place}: {_first(error)}") from None
    for field, given in (("url", urls or {}), ("sha256", sums or {})):
        for target, value in given.items():
            _replace(entry, name, target, field, value)
            try:
                dataset = Dataset.model_validate(entry)
            except ValidationError as error:
                raise SpaceClipError(f"--{field} {target}={value}: {_first(error)}") from None
    return dataset


def _read(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SpaceClipError(f"{path}: found no data set: expected the shape of {_TABLE.name}")
    return content


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above`, and what it does not name of `below`."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = _overlay(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _first(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _replace(entry: dict[str, Any], dataset: str, target: str, field: str, value: str) -> None:
    parts = entry["parts"]
    drive = _DRIVE.fullmatch(target)
    by_drive = next((part for part in parts.values() if "{drive}" in str(part.get("to"))), None)
    if target in parts:
        parts[target][field] = value
    elif drive and by_drive is not None:
        by_drive.setdefault("drives", {}).setdefault(drive[1], {})[field] = value
    else:
        raise SpaceClipError(f"--{field} {target}=...: {dataset} has no such part: {_hint(target, list(parts))}")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
