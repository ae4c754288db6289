"""The one family of errors that a user can cause and mend."""


class SpaceClipError(Exception):
    """A mistake in the input, settings or surroundings that the user can mend.

    The message is one line and holds what was found, what was expected and what to do. The `spaceclip` command prints
    it as it stands and exits non-zero; it never shows a traceback for it.
    """


class StoreError(SpaceClipError):
    """A feature store that is missing, incomplete, damaged, or made with other settings."""


class DamagedError(StoreError):
    """A store's own description (its `zarr.json`) that is cut short or altered."""
