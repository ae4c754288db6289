"""Taking listed files out of a zip."""

import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ...cache import SpaceClipError
from ..problems import counted, first_few
from .download import Report


class DamagedArchiveError(SpaceClipError):
    """A zip that cannot be read."""


def is_there(root: Path, places: Iterable[str], path: str) -> bool:
    """Whether a listed file is at one of its places below the root, given with {path} for its name in the list."""
    return any((root / place.replace("{path}", path)).is_file() for place in places)


def check_inside(paths: Sequence[str]) -> None:
    """Refuse listed names that lead out of the root.

    Raises:
        SpaceClipError: The first few of them.
    """
    outside = [path for path in paths if "\\" in path or ".." in PurePosixPath(path).parts or path.startswith("/")]
    if outside:
        raise SpaceClipError(
            f"{counted(len(outside), 'listed name')} not below the data set's root: {first_few(outside)}; expected "
            "names with forward slashes and without `..`: mend the list"
        )


def unpack(
    archive: Path, wanted: Sequence[str], members: Mapping[str, str], root: Path, report: Report
) -> tuple[str, ...]:
    """Take files out of a zip, each whole or not at all.

    Args:
        archive: The zip.
        wanted: Names as in the list.
        members: Name in the zip -> place below the root, with {path} for the name in the list.
        root: Where the places are.
        report: Called with (files taken out, files wanted).

    Returns:
        The wanted names that the zip does not have.

    Raises:
        DamagedArchiveError: It is no zip or torn.
        SpaceClipError: A name leads out of the root.
    """
    check_inside(wanted)
    lacking = []
    try:
        with zipfile.ZipFile(archive) as opened:
            names = set(opened.namelist())
            for number, path in enumerate(wanted, 1):
                found = [
                    (member, place)
                    for pattern, place in members.items()
                    if (member := pattern.replace("{path}", path)) in names
                ]
                if found:
                    member, place = found[0]
                    _take(opened, member, root / place.replace("{path}", path))
                else:
                    lacking.append(path)
                report(number, len(wanted))
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedArchiveError(f"{archive} is damaged ({error})") from error
    return tuple(lacking)


def _take(opened: zipfile.ZipFile, member: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    try:
        with opened.open(member) as source, part.open("wb") as sink:
            # Read to its end, a member is checked against its CRC.
            shutil.copyfileobj(source, sink, 1 << 20)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
