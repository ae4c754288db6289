"""Whether an engine has left threads behind."""

import threading
import time

_NAMES = ("decode-", "write-", "list", "encode", "land", "commit-")


def ended():
    """Whether no thread of an engine is left, within a second."""
    for _ in range(50):
        if not any(thread.name.startswith(_NAMES) for thread in threading.enumerate()):
            return True
        time.sleep(0.02)
    return False
