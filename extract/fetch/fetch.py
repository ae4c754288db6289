"""Fetching the parts of a data set, and taking from its zips what the lists name."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...cache import SpaceClipError, write_atomically
from ..problems import counted, first_few
from .catalogue import LISTS, Part, Source
from .download import Progress, download, sum_of
from .plan import Package, Plan, packages
from .unpack import DamagedArchiveError, unpack

SUMS = "checksums.txt"


@dataclass(frozen=True)
class Fetch:
    """How to fetch.

    Attributes:
        progress: Makes progress bars.
        tell: Says a line to the user.
        keep_archives: Whether zips are kept once they are unpacked.
        pause: Waits for some seconds.
    """

    progress: Progress
    tell: Callable[[str], None]
    keep_archives: bool = False
    pause: Callable[[float], None] = time.sleep

    def run(self, plan: Plan) -> None:
        """Do what a plan says. What was done before, even in part, is not done again.

        Args:
            plan: From `plan_fetch`.

        Raises:
            SpaceClipError: A file cannot be had, is not what it must be, or lacks listed frames.
        """
        plan.root.mkdir(parents=True, exist_ok=True)
        parts = {step.name: step.part for step in plan.steps}
        for name, part in parts.items():
            if name in LISTS:
                self._obtain_list(name, plan.lists[name], part, plan.root)
        lacking: dict[str, tuple[str, ...]] = {}
        for name, part in parts.items():
            if part.archive is None and name not in LISTS:
                self._obtain(name, plan.root / part.to, part, plan.root)
            for package in packages(name, part, plan.root, plan.lists):
                members = part.archive.members if part.archive else {}
                lacking |= self._empty(package, members, plan.root)
        if lacking:
            missing = [path for paths in lacking.values() for path in paths]
            raise SpaceClipError(
                f"{counted(len(missing), 'listed file')} not in {', '.join(lacking)}: {first_few(missing)}; all else "
                "is there: mend the list, or give the right archive"
            )

    def _obtain_list(self, name: str, file: Path, part: Part, root: Path) -> None:
        if not file.is_file():
            self._obtain(name, file, part, root)
        elif part.sha256 and (found := sum_of(file)) != part.sha256:
            self.tell(f"{file} is not the released list (its SHA-256 is {found}, the released one's {part.sha256})")
        if file.resolve() != (root / part.to).resolve():
            setting = f"`{name}: {file.resolve()}` below `data:`"
            self.tell(f"{file} serves this fetch only: for an experiment on it set {setting}")

    def _obtain(self, name: str, file: Path, source: Source, root: Path) -> bool:
        """Load a file unless it is there, and check it; False for one that only a person can fetch."""
        noted = _noted_sums(root).get(_name(root, file))
        expected = source.sha256 or noted
        known_from = f" (noted in {SUMS} when it was first loaded)" if noted and not source.sha256 else ""
        if file.is_file():
            if expected and (found := sum_of(file)) != expected:
                raise SpaceClipError(
                    f"{file} has SHA-256 {found}, expected {expected}{known_from}: delete it to load it anew, "
                    f"or if you trust it give its sum (--sha256 {name}=HEX)"
                )
            if noted and noted != expected:
                _note_sum(root, file, None)  # It took the place of what was loaded here.
            return True
        if source.url is None:
            return False
        found = download(
            source.url,
            file,
            name=name,
            sha256=expected,
            known_from=known_from,
            progress=self.progress,
            pause=self.pause,
        )
        if noted != found:
            _note_sum(root, file, found)
        return True

    def _empty(self, package: Package, members: Mapping[str, str], root: Path) -> dict[str, tuple[str, ...]]:
        """Take from a zip what is missing, and delete it if it was loaded here; what it lacks, by the zip's name."""
        if not self._obtain(package.name, package.archive, package.source, root):
            return {}
        loaded_here = _name(root, package.archive) in _noted_sums(root)
        try:
            with self.progress(f"unpack {package.name}", "files") as report:
                lacking = unpack(package.archive, package.missing, members, root, report)
        except DamagedArchiveError as error:
            if not loaded_here:
                raise SpaceClipError(f"{error}: put an intact one in its place, or delete it") from error
            _delete(root, package.archive)
            raise SpaceClipError(f"{error}: deleted; run the same command again to load it anew") from error
        if lacking:
            return {package.archive.name: lacking}
        if loaded_here and not self.keep_archives:
            _delete(root, package.archive)
        return {}


def _delete(root: Path, archive: Path) -> None:
    archive.unlink()
    _note_sum(root, archive, None)


def _name(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _noted_sums(root: Path) -> dict[str, str]:
    """Sums of what was loaded here and is still there, by its place below the root."""
    notes = root / SUMS
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
    return {name: found for found, _, name in (line.partition("  ") for line in lines) if name}


def _note_sum(root: Path, file: Path, found: str | None) -> None:
    """Note the sum of what was loaded here; None strikes it."""
    sums = _noted_sums(root) | {_name(root, file): found}
    lines = [f"{known}  {name}\n" for name, known in sums.items() if known]
    write_atomically(root / SUMS, "".join(lines).encode())
