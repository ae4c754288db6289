"""An experiment: one YAML file, checked against the settings of every room."""

import difflib
import types
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ..cache import SpaceClipError
from ..evaluate import EvaluateSettings
from ..extract import BackboneSettings, DataSettings, ExtractSettings
from ..train import DecoderSettings, TrainSettings

Settings = TypeVar("Settings", bound=BaseModel)


class Experiment(BaseModel):
    """The settings of one experiment, a section for each room that reads them.

    Attributes:
        data: The data set and its splits.
        backbone: The frozen encoder.
        extract: What is kept of its features.
        decoder: The network that is trained.
        train: The recipe.
        evaluate: The scoring.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSettings
    backbone: BackboneSettings = BackboneSettings()
    extract: ExtractSettings = ExtractSettings()
    decoder: DecoderSettings = DecoderSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()


def load_experiment(path: Path) -> Experiment:
    """Read an experiment.

    Raises:
        SpaceClipError: The file is missing, no YAML, or holds a setting that is unknown or of the wrong kind; the
            message names its place and, for an unknown one, the nearest right name.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SpaceClipError(
            f"{path}: cannot be read ({error.strerror}); give the path of an experiment file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpaceClipError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return check_settings(Experiment, content, str(path))


def check_settings(kind: type[Settings], content: Any, where: str) -> Settings:
    """Settings from plain values.

    Args:
        kind: The settings class.
        content: What was read or given.
        where: Its source, for the message.

    Raises:
        SpaceClipError: Names the first wrong setting, and how many more there are.
    """
    if not isinstance(content, dict):
        raise SpaceClipError(f"{where}: found {type(content).__name__}, expected settings by name")
    try:
        return kind.model_validate(content)
    except SpaceClipError as error:
        raise SpaceClipError(f"{where}: {error}") from error
    except ValidationError as error:
        errors = error.errors()
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise SpaceClipError(f"{where}: {_describe(kind, errors[0])}{more}") from None


def _describe(kind: type[BaseModel], error: ErrorDetails) -> str:
    """One wrong setting in words."""
    place, known = _walk(kind, error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{place}: unknown setting; {hint}"
    if error["type"] == "missing":
        return f"{place}: missing, it has no default; add it"
    message = error["msg"].removeprefix("Value error, ")
    found = error["input"]
    return f"{place}: found {found!r}; {message[:1].lower()}{message[1:]}" if place else message


def _walk(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Dotted place of a setting as the file has it, and the names known where it stands."""
    place: list[str] = []
    options: list[Any] = [kind]
    known: list[str] = []
    for part in location:
        models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        tagged = [model for model in models if len(models) > 1 and model.model_fields["kind"].default == part]
        if tagged:
            options = tagged
            continue
        place.append(str(part))
        known = sorted({name for model in models for name in model.model_fields})
        options = [
            found
            for model in models
            if part in model.model_fields
            for found in _members(model.model_fields[str(part)].annotation)
        ]
    return ".".join(place), known


def _members(annotation: Any) -> list[Any]:
    """The classes that a type annotation admits."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]
