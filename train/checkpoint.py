"""Checkpoints: weights as safetensors, the rest as JSON that a person can read. Loading runs no code of the file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Self

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from typing_extensions import TypedDict

from ..cache import CameraFacts, Features, SpaceClipError, write_atomically
from .decoder import DecoderSettings, DepthDecoder, Size
from .sealed import seal, unseal
from .timing import Receipt
from .weights import build_decoder, plain

WEIGHTS = "checkpoint.safetensors"
INFO = "checkpoint.json"
RECEIPT = "train_receipt.json"

# Ours have some kilobytes; one of gigabytes would only fill the memory.
_LARGEST_INFO = 1 << 20
_Side = Annotated[int, Field(ge=1, le=1 << 14)]


_CONTENT = ("fingerprint", "ledger", "samples")
"""Of a store's facts, those that say what is in it."""
_DATA = ("data", "split", "split_by", "list", "camera")
"""And what a checkpoint says of the data in it, where the store knows."""


def _possible(camera: CameraFacts) -> CameraFacts:
    focal, size = camera["focal"], camera["size"]
    if (len(focal), len(size)) != (3, 2) or min(*focal, *size, camera["images"]) <= 0:
        raise ValueError("expected three focal lengths, height and width, and a number of images, all above 0")
    return camera


def _identified(encoder: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if lacking := [key for key in ("name", "revision", "weights") if not isinstance(encoder.get(key), str)]:
        raise ValueError(f"expected text as its {', '.join(lacking)}")
    return encoder


class StoreFacts(TypedDict):
    """What a checkpoint keeps of a store: its identity, the SHA-256 of its ledger and of its samples, usable images.

    And what the store knows of its data: the data set, its split and how that was divided, the list, the camera.
    """

    fingerprint: str
    ledger: str
    samples: str
    images: int
    data: NotRequired[str]
    split: NotRequired[str]
    split_by: NotRequired[str]
    list: NotRequired[str]
    camera: NotRequired[Annotated[CameraFacts, AfterValidator(_possible)]]


def store_facts(features: Features) -> list[StoreFacts]:
    """What a checkpoint keeps of the stores that features lie in."""
    return [
        StoreFacts(
            fingerprint=store.fingerprint,
            ledger=store.digest,
            samples=store.identity["samples"]["sha256"],
            images=len(store.usable),
            **{name: found for name in _DATA if (found := store.about.get(name))},
        )
        for store in features.stores
    ]


class CheckpointInfo(BaseModel):
    """What belongs to the weights.

    Attributes:
        format: Of this file.
        decoder: Settings that the decoder is built from.
        backbone: Identity of the frozen encoder whose features it reads.
        preprocessing: What happens to an image before the encoder.
        image_size: (height, width) of the encoder's input, pixels; None in records from before it was kept.
        patches: Patch tokens of one hidden state; None as well.
        stores: Those that it was trained on.
        validation: Those that its weights were chosen on; none without a validation split.
        min_depth: Smallest depth it was trained and chosen on, metres.
        max_depth: Largest depth it was trained and chosen on, metres.
        weights: Whether raw or EMA weights were kept.
        epoch: The epoch, from 1, that they are of.
        chosen: Whether they are the best on validation or simply the last.
        collapsed: The seed and the last epoch of each earlier start of the run that collapsed.
        receipt: Where the time of the run went; in a file of its own, so that the same run leaves the same bytes.
        metrics: Their validation metrics; empty without a validation split.
        protocol: Protocol of those metrics.
        training: Settings of the run.
        sha256: Of the weights file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[3] = 3
    decoder: DecoderSettings
    backbone: Annotated[dict[str, JsonValue], AfterValidator(_identified)]
    preprocessing: dict[str, JsonValue]
    image_size: tuple[_Side, _Side] | None = None
    patches: Size | None = None
    stores: list[StoreFacts]
    validation: list[StoreFacts] = []
    min_depth: PositiveFloat
    max_depth: PositiveFloat
    weights: Literal["raw", "ema"]
    epoch: PositiveInt
    chosen: Literal["best", "last"] = "best"
    collapsed: list[dict[str, float | None]] = []
    receipt: Receipt | None = Field(default=None, exclude=True)
    metrics: dict[str, float]
    protocol: dict[str, JsonValue]
    training: dict[str, JsonValue]
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_one_store(cls, content: Any) -> Any:
        """What was written by format 2, which knew one store."""
        if isinstance(content, dict) and content.get("format") == 2 and "store" in content:
            seen = {
                "stores": [content["store"]],
                "validation": [content["validation"]] if content["validation"] else [],
            }
            content = {**{name: of for name, of in content.items() if name != "store"}, **seen, "format": 3}
        return content

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the JSON file of a checkpoint.

        Raises:
            SpaceClipError: It is missing, altered, or of another kind.
        """
        try:
            with path.open("rb") as file:
                found = cls.model_validate(unseal(file.read(_LARGEST_INFO)))
            # Of former versions it holds the receipt too.
            receipt = found.receipt or _read_receipt(path.with_name(RECEIPT), found.sha256)
            return found.model_copy(update={"receipt": receipt})
        except FileNotFoundError:
            raise SpaceClipError(f"{path}: no checkpoint is there; run `spaceclip train` to make one") from None
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{plain('.'.join(map(str, first['loc'][:3])))}: {first['msg']}"
        except ValueError as error:
            reason = str(error)
        raise SpaceClipError(f"{path}: not a checkpoint of this version ({reason}); train it again")

    def require_unseen(self, splits: Mapping[str, Features]) -> None:
        """Refuse to score as test what the weights were trained on or chosen by, however the split is called.

        Args:
            splits: The stores by what they are scored as; `val` may be the validation store.

        Raises:
            SpaceClipError: Names the store, what it is scored as, and what it was to this checkpoint.
        """
        uses = (("train", "trained on", self.stores), ("val", "chosen by", self.validation))
        for name, split in splits.items():
            for role, use, seen in uses:
                known = {facts[key] for facts in seen for key in _CONTENT}
                given = zip(split.stores, store_facts(split), strict=True)
                for store, facts in given:
                    if name != role and not known.isdisjoint(facts[key] for key in _CONTENT):
                        raise SpaceClipError(
                            f"{store.path} is given as the {name} split, and it is what these weights were {use}: its "
                            "scores would flatter; give the store of another split"
                        )


@dataclass(frozen=True)
class Checkpoint:
    """A decoder in evaluation mode, and what belongs to it."""

    decoder: DepthDecoder
    info: CheckpointInfo
    path: Path


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    """Write a checkpoint's two files and its receipt into a folder, each whole or not at all."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    info = info.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    if info.receipt:
        write_atomically(folder / RECEIPT, seal({"sha256": info.sha256, **info.receipt.model_dump(mode="json")}))
    write_atomically(folder / WEIGHTS, content)
    write_atomically(folder / INFO, seal(info.model_dump(mode="json")))


def _read_receipt(path: Path, sha256: str) -> Receipt | None:
    """The receipt of these weights; None where there is none that can be read: no result hangs on it."""
    try:
        with path.open("rb") as file:
            content = unseal(file.read(_LARGEST_INFO))
        return Receipt.model_validate(content) if content.pop("sha256", None) == sha256 else None
    except (OSError, ValueError):
        return None


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The folder that holds it, or either of its two files.
        device: Where the decoder shall be.

    Raises:
        SpaceClipError: A file is missing, altered, or of another kind.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    info, file = CheckpointInfo.read(folder / INFO), folder / WEIGHTS
    try:
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != info.sha256:
                raise SpaceClipError(f"{file}: altered, or not the weights that {INFO} was written for; train it again")
            content.seek(0)
            weights = load(content.read())
    except FileNotFoundError:
        raise SpaceClipError(f"{file}: no checkpoint is there; run `spaceclip train` to make one") from None
    except (SafetensorError, KeyError) as error:  # the latter of types that PyTorch does not have
        raise SpaceClipError(f"{file}: not weights in safetensors format ({error}); train it again") from error
    decoder = build_decoder(info.decoder, weights, str(file), f"it does not fit the decoder of {INFO}: train it again")
    return Checkpoint(decoder.to(device), info, file)
