"""Names of files as text: not all of them are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def printable(text: str) -> str:
    r"""Text that every file and figure takes: bytes of a file's name that are no UTF-8 are spelled out.

    >>> printable(b"caf\xe9".decode(errors="surrogateescape"))
    'caf\\udce9'
    """
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def literal_text() -> Iterator[None]:
    """Context in which figures show text as it stands: no `$` begins a formula, no missing glyph is a warning."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
