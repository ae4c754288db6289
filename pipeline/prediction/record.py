"""What a folder of outputs says of itself: the settings of its depth, and which version of its input each is of."""

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from ...cache import SpaceClipError, is_begun
from .files import FILM_SUFFIX, FORMATS, TABLE_SUFFIX

RECORD = "predict.jsonl"

Version = tuple[str | int, ...]
"""Of a file: where it lies; its bytes, and when its content and its entry in the file system changed last, nanoseconds.

With the same numbers it is the same one in another place: the folder above it was moved.
"""

_OF_EACH, _OF_ALL = (
    "|".join(map(re.escape, suffixes))
    for suffixes in ([known.suffix for known in FORMATS.values()], [FILM_SUFFIX, TABLE_SUFFIX])
)
_ENDING = re.compile(rf"(/\d{{6,}})?({_OF_EACH})|{_OF_ALL}")


def version_of(path: Path) -> Version:
    """The version of a file; of what is no file, such as a camera, one that was never before."""
    try:
        found = path.stat()
    except OSError:
        return str(path), time.time_ns()
    return str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Record:
    """A file of JSON lines: the settings, then [input's name, ending, *version] of each output before it is written.

    Before those of an image or video a line says its camera; the last one counts.

    So an output that is there is of that version, whenever a run was interrupted, and a file without a line is the
    user's own.

    Args:
        folder: Of the outputs.

    Attributes:
        file: The record.
        settings: What decides the depth; None where nothing was predicted yet.

    Raises:
        SpaceClipError: The record cannot be understood.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.settings, self._folder, self._lock = folder / RECORD, None, folder, Lock()
        self._made: defaultdict[str, dict[str, Version]] = defaultdict(dict)
        try:
            first, *lines = self.file.read_bytes().splitlines() or [b""]
        except (FileNotFoundError, NotADirectoryError):
            return
        self.settings = _parsed(first)
        if not isinstance(self.settings, Mapping):
            raise SpaceClipError(f"{self.file}: is no record of a prediction; give another --out, or delete it")
        for line in lines:
            match _parsed(line):
                case [str(name), str(ending), str(path), *version] if _ENDING.fullmatch(ending):
                    self._made[name][ending] = path, *version

    @property
    def outputs(self) -> set[str]:
        """Paths below the folder."""
        return {f"{name}{ending}" for name, made in self._made.items() for ending in made}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Note the settings in a folder that has none.

        Raises:
            SpaceClipError: Another run was faster.
        """
        if self.settings is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with self.file.open("x") as file:
                file.write(json.dumps(settings))
        except FileExistsError as error:
            raise SpaceClipError(
                f"{self._folder}: another run has begun there meanwhile; run the same command again"
            ) from error
        self.settings = settings

    def add(self, name: str, endings: Iterable[str], version: Version, camera: Mapping[str, Any] | None = None) -> None:
        """Note outputs that are about to be written, and for whoever reads the file the camera of them all."""
        endings = list(endings)
        # Each begins its own line, whatever a full disk left of the one before.
        notes = [*([{"image": name, **camera}] if camera else []), *([name, ending, *version] for ending in endings)]
        lines = "".join(f"\n{json.dumps(note)}" for note in notes)
        with self._lock, self.file.open("a") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            self._made[name].update(dict.fromkeys(endings, version))

    def holds(self, name: str, endings: Iterable[str], version: Version) -> bool:
        """Whether all these outputs are there, and of this version."""
        made = self._made.get(name, {})
        return all(_alike(made.get(ending), version) and self._path(name, ending).exists() for ending in endings)

    def source(self, name: str, version: Version) -> str | None:
        """The other file that outputs of this name are of, of which there are some."""
        return next(
            (
                str(made_of[0])
                for ending, made_of in self._made.get(name, {}).items()
                if made_of[0] != version[0] and not _alike(made_of, version) and self._path(name, ending).exists()
            ),
            None,
        )

    def name_of(self, names: Sequence[str], version: Version) -> str | None:
        """The one of these names that outputs of a file have; or of the very same one when it lay elsewhere."""
        made = [(name, made_of) for name in names for made_of in self._made.get(name, {}).values()]
        here = (name for name, made_of in made if made_of[0] == version[0])
        moved = (name for name, made_of in made if _alike(made_of, version))
        return next(here, None) or next(moved, None)

    def foreign(self, name: str, endings: Iterable[str]) -> Path | None:
        """A file that would be overwritten though it is no output."""
        made = self._made.get(name, {})
        return next(
            (path for ending in endings if ending not in made and (path := self._path(name, ending)).exists()), None
        )

    def astray(self, name: str, endings: Iterable[str]) -> Path | None:
        """A file whose folder is not where its name says, as behind a symbolic link: others' files may lie there."""
        return next((path for ending in endings if not self._is_below(path := self._path(name, ending))), None)

    def discard_others(self, name: str, version: Version) -> None:
        """Delete the outputs of other versions, which would lie among those of this one as if they were its own."""
        for ending in [ending for ending, made_of in self._made[name].items() if not _alike(made_of, version)]:
            if self._is_below(path := self._path(name, ending)):
                path.unlink(missing_ok=True)
            del self._made[name][ending]

    def discard_begun(self, names: Iterable[str]) -> None:
        """Delete what killed runs left of outputs of these names, each in its folder."""
        outputs = {self._path(name, ending) for name in names for ending in self._made.get(name, ())}
        for one in {path.parent: path for path in outputs}.values():
            for begun in one.parent.glob(".*") if self._is_below(one) else ():
                if is_begun(begun.name) and begun.with_name(begun.stem[1:]) in outputs:
                    begun.unlink(missing_ok=True)

    def _is_below(self, path: Path) -> bool:
        return path.parent.resolve() == self._folder.resolve() / path.parent.relative_to(self._folder)

    def _path(self, name: str, ending: str) -> Path:
        return self._folder / f"{name}{ending}"


def _alike(made_of: Version | None, version: Version) -> bool:
    return made_of is not None and made_of[1:] == version[1:]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
