"""A comparison from the folders of results, and to files."""

from collections.abc import Sequence
from pathlib import Path

from ...cache import SpaceClipError, write_atomically
from ..result_files import RESULTS
from ..result_folder import sweep_folder
from ..results import Results
from ..text import printable
from .formats import comma_separated, latex, markdown
from .published import CONSTRAINTS, Constraint
from .rows import Section, SeedRuns, comparison

_NAMES = ("comparison.md", "comparison.tex", "comparison.csv")


def compare_results(
    named: Sequence[tuple[str, Results | SeedRuns]], data: str | None = None, labels: Sequence[str] = ()
) -> list[Section]:
    """Results beside the published ones.

    Args:
        named: Results by the name that each shall have in the table.
        data: Kind of the one data set to show; all if not given.
        labels: NAME=LABEL, the constraint of saved maps by the name of their result.

    Raises:
        SpaceClipError: A label is of no saved maps, or no result is of the data set.
    """
    sections = comparison(named, data, _constraints(labels, named))
    if not sections:
        first = [next(iter(one.runs.values())) if isinstance(one, SeedRuns) else one for _, one in named]
        kinds = ", ".join(sorted({results.data for results in first}))
        raise SpaceClipError(f"--data {data}: the results are of {kinds}; leave --data out, or give results of {data}")
    return sections


def write_comparison(out: Path, sections: Sequence[Section]) -> list[Path]:
    """Write the tables as `comparison.md`, `.tex` and `.csv`; returns their paths."""
    sweep_folder(out, _NAMES)
    texts = (markdown(sections), latex(sections), comma_separated(sections))
    for name, text in zip(_NAMES, texts, strict=True):
        write_atomically(out / name, printable(text).encode())
    return [out / name for name in _NAMES]


def named_folders(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Folders of results, each under its own name, or under its path where two are called the same.

    Args:
        paths: The folders, or their `results.json`; one given twice counts once.
    """
    places: dict[Path, Path] = {}
    for path in paths:
        given = path.parent if path.name == RESULTS else path
        places.setdefault(given.resolve(), given)
    names = [place.name for place in places]
    return [(str(given) if names.count(place.name) > 1 else place.name, given) for place, given in places.items()]


def _constraints(labels: Sequence[str], named: Sequence[tuple[str, Results | SeedRuns]]) -> dict[str, Constraint]:
    saved = [name for name, one in named if isinstance(one, Results) and one.model.kind == "saved maps"]
    known: dict[str, Constraint] = {constraint: constraint for constraint in CONSTRAINTS}
    found: dict[str, Constraint] = {}
    for text in labels:
        name, _, label = text.rpartition("=")
        if name not in saved or label not in known:
            raise SpaceClipError(
                f"--constraint {text}: expected NAME=LABEL with the name of saved maps ({', '.join(saved) or 'none'}) "
                f"and one of {', '.join(known)}"
            )
        found[name] = known[label]
    return found
