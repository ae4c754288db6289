"""A checkpoint's folder, here or on the Hugging Face hub: from it, and to it."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...cache import SpaceClipError, first_line, write_atomically
from ...extract import first_few, hub_file
from ...train import INFO, WEIGHTS, save_checkpoint
from .model_card import CARD, model_card

if TYPE_CHECKING:
    from .model import SpaceClip

CONFIG = {"model_type": "spaceclip", "architectures": ["SpaceClipForDepthEstimation"]}
PREPROCESSOR = {"image_processor_type": "SpaceClipImageProcessor"}
"""What transformers finds `auto_classes` by; all else is in the checkpoint's own record."""

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint; that of a hub id is fetched, unless it was before.

    Args:
        name: Folder, either of a checkpoint's files, or a hub id (owner/model).
        revision: Commit, branch or tag on the hub.

    Raises:
        SpaceClipError: It is neither, or the hub does not give it.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    # What could be both is a path where its first folder is here, unless a revision is asked for.
    if isinstance(name, Path) or (path.parent.is_dir() and revision is None) or not _ID.fullmatch(name):
        held = sorted(file.parent.name for file in path.parent.glob(f"*/{INFO}"))
        beside = f" ({path.parent} has checkpoints {first_few(held)})" if held else ""
        raise SpaceClipError(
            f"{name}: no such folder{beside}; give the folder of a checkpoint, as `spaceclip train` makes it, or a hub "
            "id (owner/model)"
        )
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        files = [hub_file(name, file, revision) for file in (INFO, WEIGHTS)]
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        # The first is an OSError too.
        reached = "the hub cannot be reached" if isinstance(error, LocalEntryNotFoundError) else first_line(error)
        raise SpaceClipError(
            f"{name}: no such folder, and no checkpoint of the hub can be had by this id ({reached}); check the name, "
            "or fetch it once with a network"
        ) from error
    return files[0].parent


def save_folder(model: "SpaceClip", folder: Path, name: str, license_id: str | None) -> None:
    """Write a checkpoint's two files, its card, and what transformers finds its classes by; not where its time went.

    Args:
        model: Whose.
        folder: Made if it is not there; files of these names are replaced.
        name: What the card says to load it by.
        license_id: See `model_card`.

    Raises:
        OSError: The folder cannot be written.
    """
    size = model.input_size
    info = model.info.model_copy(update={"image_size": (size, size), "receipt": None})
    card = model_card(model, name, license_id)
    save_checkpoint(folder, model.decoder.state_dict(), info)
    for file, content in (("config.json", CONFIG), ("preprocessor_config.json", PREPROCESSOR)):
        write_atomically(folder / file, json.dumps(content, indent=1).encode() + b"\n")
    write_atomically(folder / CARD, card.encode(errors="backslashreplace"))


def push_folder(
    model: "SpaceClip", repo_id: str, *, private: bool | None, token: str | None, license_id: str | None
) -> str:
    """Write the files of `save_folder` to a repository of the hub, in one commit.

    Returns:
        Address of the commit.

    Raises:
        SpaceClipError: There is no token, no network, or no right to write there.
    """
    if not _ID.fullmatch(repo_id):
        raise SpaceClipError(f"{repo_id}: is no id of the hub; expected owner/model")
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (token or get_token()):
        raise SpaceClipError(f"{repo_id}: the hub is told no token; run `hf auth login`, set HF_TOKEN, or give token")
    # Its bases are what the library of HTTP raises where nothing is reached, and what the system does.
    failures: Any = HfHubHTTPError.__bases__
    api = HfApi(token=token)
    with TemporaryDirectory() as folder:
        save_folder(model, Path(folder), repo_id, license_id)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="A SpaceCLIP checkpoint")
        except (*failures, HFValidationError) as error:
            raise SpaceClipError(
                f"{repo_id}: the hub does not take it ({first_line(error)}); check the network, and that the token may "
                "write there"
            ) from error
    return str(done.commit_url)
