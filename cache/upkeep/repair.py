"""Taking away what is damaged in a store, so that the same extraction puts it back and computes nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import StoreError
from ..format.arrays import identity_parts
from ..format.ledger import FOLDER, record_key
from ..format.metadata import GROUP, SAMPLES, metadata_files, read_attributes
from ..places.location import Location
from ..places.lock import only_writer
from ..places.opening import place_at
from ..pointer import resolve
from .verify import Problem, Verification, verify


@dataclass(frozen=True)
class Repair:
    """What repairing a store did.

    Attributes:
        store: Where the store lies.
        shards: Shards that the store should have; 0 where its own description is damaged.
        problems: What was wrong.
        rewritten: Metadata that was written anew, by its place below the store.
        removed: Shards that were taken away.
        pending: Shards that extraction has to compute: the removed ones, and those that never were.
        left: What only the same extraction can write anew: description, samples, pointers. It computes no shard for it.
    """

    store: Location
    shards: int
    problems: list[Problem]
    rewritten: list[str]
    removed: list[int]
    pending: list[int]
    left: list[str]


def repair(
    path: str | Location, progress: Callable[[int], None] = lambda _bytes: None, *, deep: bool = False
) -> Repair:
    """Verify a store, take its damaged shards away, record first, and write anew the metadata that its identity gives.

    Args:
        path: The store, a pointer to it, or a folder with one pointer.
        progress: Called with the number of bytes of each object read.
        deep: Verify deeply.

    Raises:
        UnreadableError: Something may well be sound and cannot be read just now; nothing was taken away.
        StoreError: No store is there, the pointer given is unreadable, a run is writing the store or has taken it over,
            or something cannot be written or removed.
    """
    store = resolve(path).store
    with only_writer(store) as still_ours:
        found = verify(path, progress, deep=deep)
        try:
            return _mended(found, still_ours)
        except OSError as error:
            raise StoreError(
                f"{error.filename or store}: cannot be written or removed ({error.strerror or error}); mend that, then "
                "run the same command again"
            ) from error


def _mended(found: Verification, still_ours: Callable[[], None]) -> Repair:
    store, place = found.store, place_at(found.store)
    damaged = sorted({problem.shard for problem in found.problems if problem.shard is not None})
    files = [problem.file for problem in found.problems if problem.file]
    removed = [shard for shard in damaged if place.exists(record_key(shard))]
    rewritten = [file for file in files if file.endswith(f"/{GROUP}")]
    attributes = None if GROUP in files else read_attributes(place)
    if attributes is not None:
        contents = metadata_files(attributes)
        for file in rewritten:
            still_ours()
            place.write(file, contents[file])
        for shard in removed:
            # What was found may be hours old, and another run's by now.
            still_ours()
            place.delete(record_key(shard))
            for part in identity_parts(attributes["identity"]).values():
                place.delete(part.key(shard))
    for file in files:
        # A stray file among the records, or the list of samples, which extraction writes where there is none.
        if file == SAMPLES or file.startswith(f"{FOLDER}/"):
            still_ours()
            place.delete(file)
    left = [file for file in files if file in (GROUP, SAMPLES) or file.startswith(("../", "pointer "))]
    return Repair(store, found.shards, found.problems, rewritten, removed, damaged, left)
