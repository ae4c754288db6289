"""The model card of a checkpoint, written from its own record: README.md with the metadata that the hub reads."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...evaluate import DATA_NAMES, METRIC_LABELS, BackboneFacts, Protocol
from ...extract import counted, is_local
from ...train import StoreFacts

if TYPE_CHECKING:
    from .model import SpaceClip

CARD = "README.md"
DATA_IN_WORDS = {
    **DATA_NAMES,
    "folder": "a folder of images with depth",
    "synthetic": "rooms and streets that SpaceCLIP renders",
}
UNRECORDED = "a data set that is not recorded"
_TEMPLATE = Path(__file__).with_name("model_card.md.j2")


def model_card(model: "SpaceClip", name: str, license_id: str | None = None) -> str:
    """The card as Markdown.

    Args:
        model: Whose record to tell.
        name: What its users load it by: hub id, or folder.
        license_id: As the hub names it (`apache-2.0`); the card says that none is stated if not given.
    """
    from huggingface_hub import ModelCardData
    from jinja2 import Environment, StrictUndefined

    info, encoder = model.info, BackboneFacts.of(model.info.backbone)
    origin, is_on_hub = _origin(encoder)
    protocol = Protocol.recorded(info.protocol)
    metadata = ModelCardData(
        license=license_id,
        library_name="spaceclip",
        pipeline_tag="depth-estimation",
        tags=["depth-estimation", "metric-depth", "clip", "arxiv:2601.17657"],
        base_model=encoder.name if is_on_hub else None,
    )
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = _cell
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        metadata=metadata.to_yaml().strip(),
        name=name,
        license=license_id,
        model=model,
        info=info,
        encoder=encoder,
        encoder_is_local=is_local(encoder.name),
        origin=origin,
        parameters=f"{sum(weight.numel() for weight in model.decoder.parameters()) / 1e6:.2f}",
        protocol=protocol.label if protocol else "Its protocol is not recorded",
        metrics=[(label, info.metrics[key]) for key, label in METRIC_LABELS.items() if key in info.metrics],
        data=_data,
    )


def _origin(encoder: BackboneFacts) -> tuple[str, bool]:
    """Where an encoder's weights come from, and whether that is the hub."""
    if is_local(encoder.name):
        return "were read from a folder that is not recorded, and which must be named", False
    if encoder.embedded:
        return "come with SpaceCLIP", False
    if encoder.random:
        return "are made from a seed", False
    return "are fetched from the hub, from the commit below", True


def _data(stores: Iterable[StoreFacts]) -> str:
    """Data sets with their splits and numbers of images."""
    return "; ".join(
        f"{DATA_IN_WORDS.get(store.get('data', ''), UNRECORDED)}{_division(store)}, "
        f"{counted(store['images'], 'image')} with depth (feature store {store['fingerprint']})"
        for store in stores
    )


def _division(store: StoreFacts) -> str:
    said = ("split", "{} split"), ("split_by", "divided by {}"), ("list", "list {}")
    return "".join(f", {words.format(store[name])}" for name, words in said if name in store)


def _cell(value: object) -> str:
    """Text for one line of Markdown, which ends no cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")
