"""Whether a place holds the store that is meant, or one that was begun, or something else."""

from typing import Any

from ..errors import DamagedError, StoreError, UnreadableError
from ..places.place import Place
from .arrays import arrays
from .identity import StoreSpec
from .ledger import FOLDER, scan_ledger
from .metadata import GROUP, SAMPLES, read_attributes, read_samples


def attributes_there(place: Place, spec: StoreSpec) -> dict[str, Any] | None:
    """What the store says of itself; None where it has yet to be said, or was damaged (and is now gone).

    Raises:
        DamagedError: It is damaged, and neither records nor the list of samples show that the store is this one.
        UnreadableError: The place gives no answer.
        StoreError: Something else lies there.
    """
    try:
        attributes = read_attributes(place)
    except DamagedError:
        if not scan_ledger(place, spec.fingerprint)[0] and not _has_only_samples(place, spec):
            raise
        place.delete(GROUP)
        return None
    if attributes is None and not scan_ledger(place, spec.fingerprint)[0]:
        # The list of samples is the first of a store to be written, and the last to be deleted.
        names = {key.partition("/")[0] for key, _ in place.walk() if not key.startswith(".")}
        ours = {SAMPLES, FOLDER, *(name.partition("/")[0] for name in arrays(spec))}
        if names and (SAMPLES not in names or not names <= ours):
            raise StoreError(
                f"{place.location}: is there already and is no feature store; give another path, or delete it"
            )
    return attributes


def _has_only_samples(place: Place, spec: StoreSpec) -> bool:
    """Whether a store of just these samples was begun here, and has no record yet."""
    if place.names(FOLDER):
        return False
    try:
        read_samples(place, spec.identity)
    except UnreadableError:
        raise
    except StoreError:
        return False
    return True
