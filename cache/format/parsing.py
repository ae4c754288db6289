"""JSON from files that may be damaged, or made to do harm."""

import json
from typing import Any

import orjson


def parse_json(content: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is none, or is nested too deeply.
    """
    try:
        return orjson.loads(content)
    except ValueError:
        # A file name that is not UTF-8 holds lone surrogates, which orjson refuses.
        try:
            return json.loads(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
