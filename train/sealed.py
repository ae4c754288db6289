"""JSON files that end with a SHA-256 of their own bytes, so that one flipped bit is noticed before anything is read."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_MARK = b',\n "sealed": "'


def seal(content: Mapping[str, Any]) -> bytes:
    """A JSON object as text that a person can read, with `sealed`, the hash of all before it, as its last member."""
    text = json.dumps(content, indent=1).encode().removesuffix(b"\n}")
    return text + _end(text)


def unseal(data: bytes) -> dict[str, Any]:
    """The object that was sealed.

    Raises:
        ValueError: It was cut short or altered, or is no JSON object.
    """
    text, mark, rest = data.rpartition(_MARK)
    if mark + rest != _end(text):
        raise ValueError("cut short or altered: its SHA-256 is not the one that it ends with")
    try:
        found = json.loads(text + b"\n}")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - one kind of error for all that is no sealed object
    return found


def _end(text: bytes) -> bytes:
    return _MARK + hashlib.sha256(text).hexdigest().encode() + b'"\n}\n'
