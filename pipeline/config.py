"""An experiment: one YAML file, checked against the settings of every room."""

import copy
import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from ..cache import SpaceClipError, locate, project_root
from ..evaluate import EvaluateSettings
from ..extract import (
    BackboneSettings,
    DataSettings,
    ExtractSettings,
    absolute,
    absolute_backbone,
    parse_yaml,
    read_yaml,
)
from ..train import DecoderSettings, TrainSettings

Settings = TypeVar("Settings", bound=BaseModel)
_FolderName = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]


class FeatureExperiment(BaseModel):
    """The settings of an experiment on features that are there, a section for each room that reads them.

    Attributes:
        decoder: The network that is trained.
        train: The recipe.
        evaluate: The scoring.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decoder: DecoderSettings = DecoderSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()


class Experiment(FeatureExperiment):
    """The settings of a whole experiment.

    Attributes:
        data: The data set and its splits.
        features: Folder below `features/` that its stores lie in, so that experiments share them; by default the
            experiment's own name.
        also_train_on: Names of other experiments of the same encoder and settings of features, on whose splits this
            one is trained and validated too: parts of one big data set.
        backbone: The frozen encoder.
        extract: What is kept of its features.
    """

    data: DataSettings
    features: _FolderName | None = None
    also_train_on: list[_FolderName] = []
    backbone: BackboneSettings = BackboneSettings()
    extract: ExtractSettings = ExtractSettings()

    def by_stage(self) -> dict[str, dict[str, Any]]:
        """What each stage of the pipeline reads, defaults filled in; the same on every machine.

        The decoder's `hidden_size` is None unless it was set: it follows from the features.
        """
        every = self.model_dump(mode="json", exclude={"extract": {"threads"}})
        if "hidden_size" not in self.decoder.model_fields_set:
            every["decoder"]["hidden_size"] = None
        validation = {name: every["evaluate"][name] for name in ("crop", "min_depth", "max_depth")}
        return {
            "extract": {name: every[name] for name in ("data", "features", "backbone", "extract")},
            "train": {
                "decoder": every["decoder"],
                "train": every["train"],
                "validation": validation,
                "also_train_on": every["also_train_on"],
            },
            "evaluate": every["evaluate"],
        }

    def feature_folders(self, name: str) -> list[Path]:
        """Where the pointers of all features lie that it is trained on, by its name."""
        return [Path("features") / experiment for experiment in (name, *self.also_train_on)]


def read_experiment(path: Path, options: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment as it is written.

    Args:
        path: The file.
        options: Other values for some of its settings, see `chosen_options`.

    Raises:
        SpaceClipError: The file is missing, no YAML, or it or the options hold settings that are unknown or of the
            wrong kind; the message names the place of each and, for an unknown one, the nearest right name.
    """
    content = read_yaml(path)
    experiment = check_settings(Experiment, content, str(path))
    return apply_options(Experiment, content, options) if options else experiment


def load_experiment(path: Path, options: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment to run it: its stores have a place, and relative paths start at the project's root.

    Args:
        path: The file.
        options: As of `read_experiment`.

    Raises:
        SpaceClipError: As `read_experiment`.
    """
    experiment, root = read_experiment(path, options), project_root()
    start = Path() if root == Path.cwd() else root
    features = experiment.features or path.stem
    # Beside their pointers, stores need no place of their own.
    beside = start == Path() and features == path.stem
    store = locate(experiment.extract.store or ("" if beside else f"features/{features}"))
    update = {
        "features": features,
        "data": absolute(experiment.data, start),
        "backbone": absolute_backbone(experiment.backbone, start),
    }
    if store != Path():
        store = start / store if isinstance(store, Path) else store
        update["extract"] = experiment.extract.model_copy(update={"store": str(store)})
    return experiment.model_copy(update=update)


def chosen_options(assignments: Iterable[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a command line gives, by their dotted names.

    Args:
        assignments: What `--set` was given, NAME=VALUE with a value in YAML.
        named: Values of the options that stand for one setting, by its name; None for one that was not given.

    Raises:
        SpaceClipError: One is no assignment, its value no YAML, or a setting is given twice.
    """
    chosen = {name: value for name, value in named.items() if value is not None}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not (name and equals):
            raise SpaceClipError(f"--set {assignment}: expected NAME=VALUE, such as train.learning_rate=3e-4")
        if name in chosen:
            raise SpaceClipError(f"--set {assignment}: {name} is given twice; keep one")
        chosen[name] = parse_yaml(value, f"--set {assignment}")
    return chosen


def apply_options(kind: type[Settings], content: Mapping[str, Any], options: Mapping[str, Any]) -> Settings:
    """Settings from plain values, of which the options have some others.

    Raises:
        SpaceClipError: As `check_settings`.
    """
    content = copy.deepcopy(dict(content))
    for name, value in options.items():
        *sections, last = name.split(".")
        section = content
        for part in sections:
            inner = section.setdefault(part, {})
            section[part] = section = {} if inner is None else inner
            if not isinstance(section, dict):
                raise SpaceClipError(f"options: {name}: unknown setting; {part} is one value, it has no settings")
        section[last] = value
    return check_settings(kind, content, "options")


def check_settings(kind: type[Settings], content: Any, where: str) -> Settings:
    """Settings from plain values.

    Args:
        kind: The settings class.
        content: What was read or given.
        where: Its source, for the message.

    Raises:
        SpaceClipError: Names all wrong settings, one a line if there are several.
    """
    if not isinstance(content, dict):
        raise SpaceClipError(f"{where}: found {type(content).__name__}, expected settings by name")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = _described(kind, error.errors())
        separator, before = ("\n  ", f" {len(found)} settings are wrong:\n  ") if len(found) > 1 else ("", " ")
        raise SpaceClipError(f"{where}:{before}{separator.join(found)}") from None


def _described(kind: type[BaseModel], errors: Sequence[ErrorDetails]) -> list[str]:
    """Each wrong setting in words; one that is missing because it is misspelt is one mistake, not two."""
    misspelt = {
        (*error["loc"][:-1], near)
        for error in errors
        if error["type"] == "extra_forbidden" and (near := _nearest(kind, error["loc"]))
    }
    return [_describe(kind, error) for error in errors if error["type"] != "missing" or error["loc"] not in misspelt]


def _nearest(kind: type[BaseModel], location: tuple[int | str, ...]) -> str | None:
    """The known name that is most like an unknown one, or else begins with it."""
    name, known = str(location[-1]), _walk(kind, location)[1]
    begun = [one for one in known if len(name) > 2 and one.startswith(name)]
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5) or begun), None)


def _describe(kind: type[BaseModel], error: ErrorDetails) -> str:
    """One wrong setting in words."""
    place, known = _walk(kind, error["loc"])
    if error["type"] == "extra_forbidden":
        near = _nearest(kind, error["loc"])
        hint = f"did you mean {near}?" if near else f"known here: {', '.join(known)}"
        return f"{place}: unknown setting; {hint}"
    if error["type"] == "missing":
        return f"{place}: missing, it has no default; add it"
    message = error["msg"].removeprefix("Value error, ")
    found = error["input"]
    if error["type"] == "tuple_type":
        message = f"expected a list, such as [{found}]"
    if error["type"] == "dict_type":
        message = "expected values by name (name: value)"
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
