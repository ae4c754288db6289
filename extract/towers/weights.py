"""Where the encoder's weights come from: the hub, a folder, or a seeded random generator."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from transformers.models.clip import CLIPVisionConfig, CLIPVisionModel
from transformers.utils import logging

from ...cache import SpaceClipError

# Shapes of OpenAI's four vision transformers, so that random weights need no network.
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
SHAPES: dict[str, dict[str, Any]] = {
    "openai/clip-vit-base-patch32": {"patch_size": 32},
    "openai/clip-vit-base-patch16": {"patch_size": 16},
    "openai/clip-vit-large-patch14": {"patch_size": 14, **_LARGE},
    "openai/clip-vit-large-patch14-336": {"patch_size": 14, "image_size": 336, **_LARGE},
}


def make_random(name: str, seed: int) -> CLIPVisionModel:
    """A vision tower of random weights, reproducible by its seed.

    They are transformers' initialisation but for the position embeddings, which are drawn as strong as the patch
    embeddings of an ordinary image: in a trained tower a token knows where it is, and depth hangs on that.

    Args:
        name: Hub id of a known shape, local model folder, or path of a `config.json`.
        seed: Of the generator; the caller's random state is left as it was.

    Raises:
        SpaceClipError: No configuration can be had by that name.
    """
    config = CLIPVisionConfig(**SHAPES[name]) if name in SHAPES else _config(name, None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPVisionModel(config)
        patches = model.embeddings.patch_embedding.weight
        strength = float(patches.detach().std()) * patches[0].numel() ** 0.5
        torch.nn.init.normal_(model.embeddings.position_embedding.weight, std=strength)
    return model


def load_pretrained(name: str, revision: str | None) -> tuple[CLIPVisionModel, str]:
    """A vision tower with trained weights, and the revision that it has.

    Raises:
        SpaceClipError: Unknown id, no network, not a CLIP model, or weights missing from the file.
    """
    config = _config(name, revision)
    local = Path(name).is_dir()
    try:
        with _quiet():
            loaded: Any = CLIPVisionModel.from_pretrained(
                name, config=config, revision=revision or "main", output_loading_info=True, dtype=torch.float32
            )
            model, info = loaded
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SpaceClipError(
            f"backbone {name}: its weights cannot be loaded ({_first_line(error)}); check the folder or hub id"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise SpaceClipError(
            f"backbone {name}: {len(missing)} weights of the vision tower are not in its file (first {missing[0]}); "
            "a complete CLIP or CLIP vision model is needed"
        )
    return model, "local folder" if local else str(config._commit_hash or revision)


def _config(name: str, revision: str | None) -> CLIPVisionConfig:
    """The vision configuration of a folder, a JSON file or a hub id."""
    path = Path(name)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        if Path(name).is_dir() or name.count("/") != 1:
            raise SpaceClipError(
                f"backbone {name}: neither a hub id (owner/model) nor a folder with a config.json; "
                "give one of those, or random:openai/clip-vit-base-patch16 for random weights"
            )
        path = _download_config(name, revision)
    try:
        kind = json.loads(path.read_bytes()).get("model_type")
    except (ValueError, AttributeError) as error:
        raise SpaceClipError(f"backbone {name}: {path} is not a model configuration ({error})") from error
    if kind not in ("clip", "clip_vision_model"):
        raise SpaceClipError(f"backbone {name}: a model of type {kind!r}, a CLIP model was expected; choose another")
    return CLIPVisionConfig.from_pretrained(path.parent if path.name == "config.json" else path)


def _download_config(name: str, revision: str | None) -> Path:
    offline = (
        "load it once with a network, or save it with save_pretrained elsewhere and give that folder as the backbone; "
        f"random:{name} computes without trained weights"
    )
    try:
        with _quiet():
            return Path(hf_hub_download(name, "config.json", revision=revision))
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise SpaceClipError(
            f"backbone {name}: the hub has no such public model or revision {revision or 'main'} "
            f"({type(error).__name__}); check the id, or give a local folder"
        ) from error
    except LocalEntryNotFoundError as error:
        raise SpaceClipError(
            f"backbone {name}: the hub cannot be reached and no copy is on this machine; {offline}"
        ) from error
    except EntryNotFoundError as error:
        raise SpaceClipError(f"backbone {name}: the hub's model has no config.json; give a CLIP model") from error
    except (HfHubHTTPError, OSError) as error:
        raise SpaceClipError(f"backbone {name}: the hub did not answer ({_first_line(error)}); {offline}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Both libraries tell of retries and of every weight; what matters of it is in our errors."""
    levels = logging.get_verbosity(), hub_logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(levels[0])
        logging.enable_progress_bar()
        hub_logging.set_verbosity(levels[1])


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
