"""Where the encoder's weights come from: the hub, a folder, or a seeded random generator."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import torch
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
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator
from safetensors import SafetensorError
from transformers.models.clip import CLIPVisionConfig, CLIPVisionModel
from transformers.utils import logging

from ...cache import SpaceClipError, first_line
from .hub import hub_file

# All that transformers raises on folders that are damaged.
_LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError)

ATTENTION = "sdpa"
"""Said to transformers, which would otherwise ask the model's own configuration, and through it the hub."""

# What transformers 5 writes of a vision tower alone, 4 reads only by the names that it gives.
_KEYS_OF_5 = (
    {r"^(embeddings|pre_layrnorm|encoder|post_layernorm)\.": r"vision_model.\1."}
    if version("transformers").startswith("4.")
    else None
)

_MOST_WEIGHTS = 4_000_000_000

# Shapes of OpenAI's four vision transformers, so that random weights need no network.
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
SHAPES: dict[str, dict[str, Any]] = {
    "openai/clip-vit-base-patch32": {"patch_size": 32},
    "openai/clip-vit-base-patch16": {"patch_size": 16},
    "openai/clip-vit-large-patch14": {"patch_size": 14, **_LARGE},
    "openai/clip-vit-large-patch14-336": {"patch_size": 14, "image_size": 336, **_LARGE},
}


class Shape(BaseModel):
    """What of a model's configuration shapes its vision tower; all the rest of the file is left alone.

    Attributes and defaults are those of transformers' `CLIPVisionConfig`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    hidden_size: PositiveInt = 768
    intermediate_size: PositiveInt = 3072
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    image_size: PositiveInt = 224
    patch_size: PositiveInt = 32
    num_channels: Literal[3] = 3
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: float = Field(default=1e-5, gt=0, lt=1)

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.patch_size > self.image_size:
            raise ValueError(f"patches of {self.patch_size} pixels do not fit an image of {self.image_size}")
        width, tokens = self.hidden_size, 1 + (self.image_size // self.patch_size) ** 2
        block = 4 * width**2 + 2 * width * self.intermediate_size
        weights = self.num_hidden_layers * block + width * (tokens + 3 * self.patch_size**2)
        if weights > _MOST_WEIGHTS:
            raise ValueError(f"a tower of more than {_MOST_WEIGHTS:,} weights")
        return self

    def config(self) -> CLIPVisionConfig:
        """As transformers wants it."""
        given: dict[str, Any] = self.model_dump() | {"attn_implementation": ATTENTION}
        return CLIPVisionConfig(**given)


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
    shape = Shape(**SHAPES[name]) if name in SHAPES else _shape(name, _config_file(name, None))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPVisionModel(shape.config())
        tower: Any = getattr(model, "vision_model", model)  # so in transformers 4
        patches = tower.embeddings.patch_embedding.weight
        strength = float(patches.detach().std()) * patches[0].numel() ** 0.5
        torch.nn.init.normal_(tower.embeddings.position_embedding.weight, std=strength)
    return model


def load_pretrained(name: str, revision: str | None) -> tuple[CLIPVisionModel, str]:
    """A vision tower with trained weights, and the revision that it has.

    Raises:
        SpaceClipError: Unknown id, no network, not a CLIP model, or weights that are missing from the file, of another
            shape or not finite.
    """
    file = _config_file(name, revision)
    config, local = _shape(name, file).config(), Path(name).is_dir()
    # The hub's files lie in a folder that is named by their commit.
    revision = "local folder" if local else file.parent.name
    try:
        with _quiet():
            loaded: Any = CLIPVisionModel.from_pretrained(
                name,
                config=config,
                revision="main" if local else revision,
                output_loading_info=True,
                dtype=torch.float32,
                attn_implementation=ATTENTION,
                key_mapping=_KEYS_OF_5,
                ignore_mismatched_sizes=True,  # they are refused below, by their names
            )
            model, info = loaded
    except _LOADING_ERRORS as error:
        raise SpaceClipError(
            f"backbone {name}: its weights cannot be loaded ({first_line(error)}); check the folder or hub id"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise SpaceClipError(
            f"backbone {name}: {len(missing)} weights of the vision tower are not in its file (first {missing[0]}); "
            "a complete CLIP or CLIP vision model is needed"
        )
    _require_usable(name, model, info["mismatched_keys"])
    return model, revision


def _require_usable(name: str, model: CLIPVisionModel, mismatched: Collection[Any]) -> None:
    """Refuse weights of another shape than the configuration says, and such as are not finite."""
    weights = model.state_dict()
    # With their shapes only from transformers 5.
    wrong = sorted((one, "another shape") if isinstance(one, str) else (one[0], list(one[1])) for one in mismatched)
    if wrong:
        first, found = wrong[0]
        raise SpaceClipError(
            f"backbone {name}: {len(wrong)} weights do not fit its config.json (first {first}: {found}, expected "
            f"{list(weights[first].shape)}); give a model as save_pretrained has written it"
        )
    require_finite(name, model)


def require_finite(name: str, model: CLIPVisionModel) -> None:
    """Refuse weights that are not finite.

    Raises:
        SpaceClipError: Names the first of them.
    """
    weights = model.state_dict()
    if bad := [one for one, values in weights.items() if not values.isfinite().all()]:
        raise SpaceClipError(
            f"backbone {name}: {len(bad)} weights hold NaN or infinity (first {bad[0]}), expected finite numbers; "
            "fetch or save the encoder again"
        )


def _config_file(name: str, revision: str | None) -> Path:
    """The configuration of a folder, a JSON file or a hub id."""
    path = Path(name)
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return path
    if Path(name).is_dir() or name.count("/") != 1:
        raise SpaceClipError(
            f"backbone {name}: neither a hub id (owner/model) nor a folder with a config.json; "
            "give one of those, embedded:clip-tiny, or random:openai/clip-vit-base-patch16 for random weights"
        )
    return _download_config(name, revision)


def _shape(name: str, file: Path) -> Shape:
    """What a configuration says of the vision tower.

    Raises:
        SpaceClipError: It is no JSON, of another model, or nothing that could be built.
    """
    try:
        content = json.loads(file.read_bytes())
        kind = content.get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise SpaceClipError(f"backbone {name}: {file} is not a model configuration ({first_line(error)})") from error
    if kind not in ("clip", "clip_vision_model"):
        raise SpaceClipError(f"backbone {name}: a model of type {kind!r}, a CLIP model was expected; choose another")
    try:
        return Shape.model_validate(content.get("vision_config", {}) if kind == "clip" else content)
    except ValidationError as error:
        raise SpaceClipError(
            f"backbone {name}: {file} describes no CLIP vision tower ({first_fault(error)}); "
            "give a model that save_pretrained has written"
        ) from error


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a shape, and where."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _download_config(name: str, revision: str | None) -> Path:
    offline = (
        "load it once with a network, or save it with save_pretrained elsewhere and give that folder as the backbone; "
        f"random:{name} computes without trained weights"
    )
    try:
        with _quiet():
            return hub_file(name, "config.json", revision)
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
        raise SpaceClipError(f"backbone {name}: the hub did not answer ({first_line(error)}); {offline}") from error


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
