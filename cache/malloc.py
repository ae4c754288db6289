"""Memory that a step frees is kept for the next one."""

import ctypes
from contextlib import suppress

# M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX of glibc: what one thread has freed, any other may use.
_OPTIONS = {-4: 0, -1: -1, -8: 1}


def keep_freed_memory() -> None:
    """Have the C library keep large buffers when they are freed, in place of giving them back at once.

    On a CPU the encoder frees some hundred megabytes at each step, the decoder in training gigabytes. To have them
    mapped and zeroed again takes up to a fifth of the time, and more in a Dask worker, whose nanny asks for the
    opposite. Does nothing where the C library is not glibc.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _OPTIONS.items():
            mallopt(option, value)
