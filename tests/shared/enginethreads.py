"""Whether an engine has left threads behind."""

import threading
import time

_NAMES = ("decode-", "write-", "list", "encode", "land", "commit-")


def ended(others=()):
    """Whether no thread of an engine is left, within a second, besides those of others."""
    for _ in range(50):
        if not any(thread.name.startswith(_NAMES) for thread in threading.enumerate() if thread not in others):
            return True
        time.sleep(0.02)
    return False
