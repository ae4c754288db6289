"""The one family of errors that a user can cause and mend."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

_NO_MEMORY = ("out of memory", "can't allocate memory")


class SpaceClipError(Exception):
    """A mistake in the input, settings or surroundings that the user can mend.

    The message is one line and holds what was found, what was expected and what to do. The `spaceclip` command prints
    it as it stands and exits non-zero; it never shows a traceback for it.
    """


class StoreError(SpaceClipError):
    """A feature store that is missing, incomplete, damaged, or made with other settings."""


class BusyError(StoreError):
    """What another process is writing just now."""


class UnreadableError(StoreError):
    """What may well be sound and cannot be read just now: the network, a permission, too many open files.

    It is no damage: nothing may be deleted because of it.
    """

    @classmethod
    def of(cls, where: object, error: OSError) -> Self:
        """For what failed, in one line."""
        refused = isinstance(error, PermissionError)
        remedy = "give yourself permission to read it" if refused else "try again when it can"
        return cls(f"{where}: cannot be read ({error.strerror or error}); {remedy}")


class DamagedError(StoreError):
    """A store's own description (its `zarr.json`), or one of its objects, that is cut short or altered."""

    @classmethod
    def of_object(cls, where: str, what: str) -> Self:
        """For an object that does not hold what it should, in one line."""
        return cls(
            f"{where}: damaged: {what}; run `spaceclip cache repair` on the store, then extract again; or, if it was "
            "written anew since the store was opened, open it again"
        )


def first_line(error: BaseException) -> str:
    r"""What an error says, without what follows; its type where it says nothing.

    >>> first_line(ValueError("wrong\nfor many reasons")), first_line(MemoryError())
    ('wrong', 'MemoryError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or beside it."""
    # PyTorch has an exception of its own for the memory that it manages, and none for the rest.
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return said or isinstance(error, MemoryError)


@contextmanager
def out_of_memory(remedy: str) -> Iterator[None]:
    """Context in which memory that runs out, on a GPU or beside it, is one line that ends with what to do.

    Raises:
        SpaceClipError: It did.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = str(error)
        what = ". ".join(said.splitlines()[0].split(". ")[:2]) if said else "for its buffers"
        raise SpaceClipError(f"out of memory ({what}); {remedy}") from error
