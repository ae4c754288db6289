"""What refers to stores: the pointers below some folders."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ..format.metadata import GROUP
from ..places.location import Location, Url
from ..places.opening import place_at
from ..pointer import MOST_BYTES, SUFFIX, Pointer

STORE = ".zarr"


def below(folder: Location, *, links: bool = False) -> Iterator[Location]:
    """All stores and files below a folder, but for what stores hold.

    Folders are not entered whose name begins with a dot; links to folders only where asked for, each folder once.

    Raises:
        OSError: A folder cannot be read.
    """
    place = place_at(folder)
    entered = {folder.resolve()} if isinstance(folder, Path) else set()

    def within(key: str) -> Iterator[Location]:
        for name in place.names(key):
            inner = f"{key}/{name}" if key else name
            path = folder / inner
            if isinstance(path, Path) and path.is_symlink() and path.is_dir():
                if not links or path.resolve() in entered:
                    continue
                entered.add(path.resolve())
            yield path
            # In a bucket what is a folder is only known by what is in it.
            if not name.endswith((STORE, SUFFIX)) and not name.startswith("."):
                yield from within(inner)

    yield from within("")


class References:
    """What the pointers below some folders point to: stores, and the splits whose pointer is unreadable.

    The fingerprint counts where a pointer leads to no store of that kind of place, a folder or a bucket: pointers are
    copied without their stores, and stores are moved.

    Args:
        folders: Where to look, through links too.

    Raises:
        OSError: One cannot be read, and may mean any store.
    """

    def __init__(self, *folders: Location) -> None:
        self._stores: set[Location] = set()
        self._fingerprints: dict[type[Location], set[str]] = {Path: set(), Url: set()}
        self._unreadable: set[str] = set()
        for file in chain.from_iterable(below(folder, links=True) for folder in folders):
            if file.name.endswith(SUFFIX) and not file.name.startswith("."):
                self._add(file)

    def __len__(self) -> int:
        """Stores that are pointed to."""
        return len(self._stores)

    def include(self, store: Location, fingerprint: str | None) -> bool:
        """Whether a store is, or may be, pointed to: by its place, or a pointer that is damaged or leads nowhere."""
        fingerprints = self._fingerprints[Path if isinstance(store, Path) else Url]
        return (
            _plain(store) in self._stores
            or bool({fingerprint, store.stem.rpartition("-")[2]} & fingerprints)
            or any(store.name.startswith(f"{split}-") for split in self._unreadable)
        )

    def _add(self, file: Location) -> None:
        try:
            content = place_at(file.parent).read_end(file.name, MOST_BYTES + 1)
        except FileNotFoundError:
            return
        try:
            pointer = Pointer.of(content)
            if pointer.store:
                target = pointer.target(file)
                self._stores.add(_plain(target))
                near = isinstance(target, Path) or not isinstance(file, Path)
                found = near and place_at(target).exists(GROUP)
                for kind, fingerprints in self._fingerprints.items():
                    if not (found and isinstance(target, kind)):
                        fingerprints.add(pointer.fingerprint)
        except ValueError:
            self._unreadable.add(file.stem)


def _plain(store: Location) -> Location:
    return store.resolve() if isinstance(store, Path) else store
