"""Settings whose paths mean the same in every process, wherever it was started."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from .towers import RANDOM, BackboneSettings

_Settings = TypeVar("_Settings", bound=BaseModel)


def absolute(settings: _Settings, folder: Path) -> _Settings:
    """Settings with all their paths absolute, those of the settings within them too.

    Args:
        settings: Of a data set.
        folder: What relative paths are meant from.
    """
    changed = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Path):
            changed[name] = folder / value
        elif isinstance(value, BaseModel):
            changed[name] = absolute(value, folder)
    return settings.model_copy(update=changed)


def absolute_backbone(settings: BackboneSettings, folder: Path) -> BackboneSettings:
    """The same for an encoder, whose name may be a path; a hub's id stays."""
    kind = RANDOM if settings.name.startswith(RANDOM) else ""
    path = folder / settings.name.removeprefix(kind)
    return settings.model_copy(update={"name": f"{kind}{path}"}) if path.exists() else settings
