"""Running out of memory, as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..cache import SpaceClipError


@contextmanager
def out_of_memory(remedy: str) -> Iterator[None]:
    """Context in which a failed allocation, on any device, is a `SpaceClipError` that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        # Torch has a class of its own for CUDA alone.
        if not isinstance(error, MemoryError) and not any(
            words in text for words in ("out of memory", "can't allocate memory")
        ):
            raise
        asked = text.strip().partition("\n")[0] or "an allocation failed"
        raise SpaceClipError(f"out of memory ({asked}): {remedy}") from error
