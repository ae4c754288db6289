"""Numbers of bytes, as people say them."""


def size_text(number: float) -> str:
    """A number of bytes in the unit that suits it.

    >>> size_text(2_500_000), size_text(0)
    ('2.5 MB', '0 bytes')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:,.1f} {unit}"
    return f"{number:.0f} bytes"
