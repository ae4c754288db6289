"""A checkpoint's folder, here or on the Hugging Face hub."""

import re
from pathlib import Path

from ...cache import SpaceClipError, first_line
from ...train import INFO, WEIGHTS

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint; that of a hub id is fetched, unless it was before.

    Args:
        name: Folder, either of a checkpoint's files, or a hub id (owner/model).
        revision: Commit, branch or tag on the hub.

    Raises:
        SpaceClipError: It is neither, or the hub does not give it.
    """
    if Path(name).exists():
        return Path(name)
    if isinstance(name, Path) or not _ID.fullmatch(name):
        raise SpaceClipError(
            f"{name}: no checkpoint is there; run `spaceclip train` to make one, or give a hub id (owner/model)"
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        files = [Path(hf_hub_download(name, file, revision=revision)) for file in (INFO, WEIGHTS)]
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        # The first is an OSError too, and what the hub is asked for where it cannot be reached.
        reached = "the hub cannot be reached" if isinstance(error, LocalEntryNotFoundError) else first_line(error)
        raise SpaceClipError(
            f"{name}: no such folder, and no checkpoint of the hub can be had by this id ({reached}); check the name, "
            "or fetch it once with a network"
        ) from error
    return files[0].parent
