"""The one family of errors that a user can cause and mend."""

from typing import Self


class SpaceClipError(Exception):
    """A mistake in the input, settings or surroundings that the user can mend.

    The message is one line and holds what was found, what was expected and what to do. The `spaceclip` command prints
    it as it stands and exits non-zero; it never shows a traceback for it.
    """


class StoreError(SpaceClipError):
    """A feature store that is missing, incomplete, damaged, or made with other settings."""


class UnreadableError(StoreError):
    """What may well be sound and cannot be read just now: the network, a permission, too many open files.

    It is no damage: nothing may be deleted because of it.
    """

    @classmethod
    def of(cls, where: object, error: OSError) -> Self:
        """For what failed, in one line."""
        return cls(f"{where}: cannot be read ({error.strerror or error}); try again when it can")


class DamagedError(StoreError):
    """A store's own description (its `zarr.json`), or one of its objects, that is cut short or altered."""

    @classmethod
    def of_object(cls, where: str, what: str) -> Self:
        """For an object that does not hold what it should, in one line."""
        return cls(
            f"{where}: damaged: {what}; run `spaceclip cache repair` on the store, then extract again; or, if it was "
            "written anew since the store was opened, open it again"
        )
