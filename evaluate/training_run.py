"""The training run behind a checkpoint: its settings and its curves."""

import csv
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..cache import SpaceClipError
from ..train import HISTORY, Checkpoint
from .charts import chart, draw_epochs

_VALIDATION = {"val_raw": "raw weights", "val_ema": "EMA weights"}


def training_settings(checkpoint: Checkpoint) -> dict[str, dict[str, str]]:
    """The settings by section, each with the full name of those in sections of their own."""
    sections = {"Training": checkpoint.info.training, "Decoder": checkpoint.info.decoder.model_dump(mode="json")}
    return {title: dict(_flat(settings)) for title, settings in sections.items()}


def training_charts(checkpoint: Checkpoint) -> list[str]:
    """Charts of the loss and, where a validation split was scored, its AbsRel over the epochs.

    None where the history of the run does not lie beside the checkpoint.

    Raises:
        SpaceClipError: The history is no table of this version.
    """
    history, kept = read_curves(checkpoint.path.parent), checkpoint.info.epoch
    if not history:
        return []
    draws = [partial(draw_epochs, history=history, lines={"loss": "loss"}, title="Training loss", kept=kept)]
    if any(map(math.isfinite, history["val_raw"])):
        draws.append(partial(draw_epochs, history=history, lines=_VALIDATION, title="Validation AbsRel", kept=kept))
    return [chart(draw, height=2.9) for draw in draws]


def read_curves(folder: Path) -> dict[str, list[float]]:
    """Epochs, loss, and validation AbsRel of raw and EMA weights of a run, NaN where one is not known; none without it.

    Raises:
        SpaceClipError: The history is no table of this version.
    """
    path, names = folder / HISTORY, ("epoch", "loss", *_VALIDATION)
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        return {name: [float(line[name] or "nan") for line in lines] for name in names}
    except (KeyError, ValueError, csv.Error) as error:
        wanted = ", ".join(names)
        raise SpaceClipError(
            f"{path} is no table of this version ({error!r}), expected the columns {wanted}: delete it"
        ) from error


def _flat(settings: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)
