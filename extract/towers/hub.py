"""Files of the Hugging Face hub."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

_PATIENCE = 5
"""Seconds that the hub has to answer; left alone, the library asks for half a minute."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNREACHED: Any = (*HfHubHTTPError.__bases__, OSError)
"""What the library of HTTP raises where nothing answers, and the system."""


def hub_file(name: str, file: str, revision: str | None = None) -> Path:
    """A file of the hub: fetched, or where the hub does not answer at once the copy that was fetched before.

    Args:
        name: owner/model.
        file: Its name there.
        revision: Commit, branch or tag.

    Raises:
        LocalEntryNotFoundError: The hub does not answer, and there is no copy.
        HfHubHTTPError: It answers that it has no such file.
        HFValidationError: The name can be none of the hub.
    """
    copy = try_to_load_from_cache(name, file, revision=revision) if _COMMIT.fullmatch(revision or "") else None
    if isinstance(copy, str):
        return Path(copy)
    try:
        get_hf_file_metadata(hf_hub_url(name, file, revision=revision), timeout=_PATIENCE)
        answers = True
    except HfHubHTTPError:
        answers = True
    except _UNREACHED:
        answers = False
    return Path(hf_hub_download(name, file, revision=revision, local_files_only=not answers))
