"""The design of a study: its file, and everything that can be known to be wrong with it before anything is trained."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ...cache import Features, SpaceClipError, require_disjoint
from ...evaluate import Protocol
from ...extract import read_yaml
from ...train import (
    CheckpointInfo,
    DecoderSettings,
    DepthDecoder,
    Plan,
    Run,
    Seed,
    StartSettings,
    TrainSettings,
    shared_weights,
)
from ..config import Experiment, check_settings, load_experiment
from ..features import extracted_by
from ..training import open_splits
from .arm_results import Start
from .on_test import OnTest
from .results import FILES

_OF_THE_STUDY = {
    "train.seed": "from its seeds",
    "train.order_seed": "from its seeds",
    "train.start": "all arms start from the weights of the first",
}


class StudyFile(BaseModel):
    """What a study's file says.

    Attributes:
        base: The experiment's file.
        arms: For each arm by name the settings that are its own, in the spelling of `--set`; the first is what the
            others are compared with, and start from where their shape allows it.
        grid: Lists of values by setting: an arm for each combination, named by its values, after those of `arms`.
        seeds: Of initial weights, dropout, order and flips; each arm is trained with each of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Path
    arms: dict[str, dict[str, Any]] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    seeds: tuple[Seed, ...]

    @field_validator("arms", mode="before")
    @classmethod
    def _plain_arms_may_stay_empty(cls, arms: Any) -> Any:
        return {name: {} if own is None else own for name, own in arms.items()} if isinstance(arms, dict) else arms

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("there are none; give one or more")
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise ValueError(f"{', '.join(map(str, twice))} stands there twice; keep one of each")
        return seeds

    @model_validator(mode="after")
    def _arms_by_distinct_names_of_folders(self) -> Self:
        names = [*self.arms, *(name for name, _ in self._combinations())]
        if not names:
            raise ValueError("there are no arms; give some by name (arms), or lists of values (grid)")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the grid gives an arm named {twice[0]}, and there is another of that name; keep one")
        if (bad := next((name for name in names if not _can_be_a_folder(name)), None)) is not None:
            raise ValueError(
                f"an arm named {bad[:60]!r} can have no folder; name it with letters, digits and . _ + , = - (200 "
                f"bytes at most, a letter, digit or _ first), and unlike {', '.join(FILES)}"
            )
        return self

    @property
    def all_arms(self) -> dict[str, dict[str, Any]]:
        """The settings of each arm that are its own, those of the grid too."""
        return {**self.arms, **dict(self._combinations())}

    def _combinations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for values in product(*self.grid.values()) if self.grid else ():
            own = dict(zip(self.grid, values, strict=True))
            yield ",".join(f"{name.rpartition('.')[2]}={_in_name(value)}" for name, value in own.items()), own


def _can_be_a_folder(name: str) -> bool:
    return bool(re.fullmatch(r"\w[\w.+,=-]*", name)) and len(name.encode()) <= 200 and name not in FILES


def _in_name(value: Any) -> str:
    """A setting's value as part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", json.dumps(value, ensure_ascii=False).strip('[]{}"'))


@dataclass(frozen=True)
class Arm:
    """One arm of a study.

    Attributes:
        name: Its name, and its folder's.
        own: The settings that tell it from the base.
        decoder: The network, for the features at hand.
        settings: The recipe; the seed is each run's.
    """

    name: str
    own: Mapping[str, Any]
    decoder: DecoderSettings
    settings: TrainSettings

    @property
    def parameters(self) -> int:
        """Of the network."""
        with torch.device("meta"):
            return sum(weights.numel() for weights in DepthDecoder(self.decoder).parameters())

    def start(self, first: "Arm") -> Start:
        """What it starts from of another arm's initial weights."""
        with torch.device("meta"):
            shared = list(shared_weights(DepthDecoder(self.decoder), DepthDecoder(first.decoder)))
        return Start(
            parameters=sum(weight.own.numel() for weight in shared),
            weights=[weight.name for weight in shared if weight.whole],
            leading=[weight.name for weight in shared if not weight.whole],
        )


@dataclass(frozen=True)
class Design:
    """A study that can be run.

    Attributes:
        file: The study's file.
        base: The experiment's file.
        arms: The first is what the others are compared with, and start from.
        seeds: Each arm is trained with each.
        training: Training features.
        validation: What arms are compared on.
        protocol: How, the same for all arms.
        test: How runs are scored once all have ended; None without a test split.
    """

    file: Path
    base: Path
    arms: Sequence[Arm]
    seeds: Sequence[int]
    training: Features
    validation: Features
    protocol: Protocol
    test: OnTest | None

    def plan(self, arm: Arm, seed: int, out: Path) -> Plan:
        """One run, in its folder below the study's."""
        settings = arm.settings.model_copy(update={"seed": seed, "order_seed": None})
        return Plan(out / arm.name / f"seed{seed}", arm.decoder, settings, self.protocol.model_dump())

    def plans(self, out: Path) -> dict[tuple[str, int], Plan]:
        """All runs by arm and seed, those of a seed side by side."""
        return {(arm.name, seed): self.plan(arm, seed, out) for seed in self.seeds for arm in self.arms}

    def done(self, out: Path, device: torch.device) -> dict[tuple[str, int], CheckpointInfo | int]:
        """The finished checkpoint of each run, or how many of its steps are done; see `Run.done`."""
        runs = {key: Run(plan, self.training, self.validation, device) for key, plan in self.plans(out).items()}
        return {key: run.done() for key, run in runs.items()}

    @property
    def steps(self) -> int:
        """Of an epoch."""
        settings = self.arms[0].settings
        return len(self.training.usable[: settings.overfit]) // settings.batch_size


def prepare(file: Path, local_copy: Path | None = None) -> Design:
    """Read a study's file and open the features of its experiment.

    Args:
        file: The study's.
        local_copy: Folder that keeps what is read of a bucket.

    Raises:
        SpaceClipError: A setting is unknown, wrong or no arm's to set; two arms are alike, see other batches or are
            scored otherwise; there is no validation split, the features lack a layer, or the test split cannot be
            scored.
    """
    study = check_settings(StudyFile, read_yaml(file), str(file))
    base, owns, faults = load_experiment(study.base), study.all_arms, dict[str, str]()
    experiments = dict[str, Experiment]()
    for name, own in owns.items():
        with _noted(faults, name):
            experiments[name] = _experiment(study.base, own)
    _require_none(file, faults)
    folders = base.feature_folders(study.base.stem)
    with extracted_by(study.base, folders):
        return _fitted(file, study, base, experiments, folders, local_copy)


def _fitted(
    file: Path,
    study: StudyFile,
    base: Experiment,
    experiments: Mapping[str, Experiment],
    folders: Sequence[Path],
    local_copy: Path | None,
) -> Design:
    """The design for the features of its experiment."""
    training, validation = open_splits(folders, {"backbone": base.backbone.expected_identity()}, local_copy)
    if validation is None:
        raise SpaceClipError(
            f"{study.base}: arms are compared on the validation split, and there is none; hold scenes out "
            "(data.split.val) and extract again"
        )
    arms, protocols, faults = list[Arm](), list[Protocol](), dict[str, str]()
    for name, experiment in experiments.items():
        with _noted(faults, name):
            arm, protocol = _arm(name, study.all_arms[name], experiment, training, validation)
            arm = _paired(arm, arms[0]) if arms else arm
            _require_comparable(arm, protocol, arms, protocols)
            arms.append(arm)
            protocols.append(protocol)
        if not arms:
            break  # the others are compared with the first
    _require_none(file, faults)
    test = OnTest.of(base, folders, (arms[0].settings.min_depth, arms[0].settings.max_depth), local_copy)
    if test:
        require_disjoint({"train": training, "val": validation, "test": test.split})
        test.require(sorted({layer for arm in arms for layer in arm.decoder.layers}))
    return Design(file, study.base, arms, study.seeds, training, validation, protocols[0], test)


@contextmanager
def _noted(faults: dict[str, str], name: str) -> Iterator[None]:
    """Context in which what is wrong with an arm is noted, so that all arms are looked at before any is refused."""
    try:
        yield
    except SpaceClipError as error:
        faults[name] = str(error).removeprefix("options:").strip()


def _require_none(file: Path, faults: Mapping[str, str]) -> None:
    lines = [f"arm {name}: {fault}" for name, fault in faults.items()]
    if len(lines) > 1:
        listed = "\n".join(lines).replace("\n", "\n  ")
        raise SpaceClipError(f"{file}: {len(lines)} arms are wrong:\n  {listed}")
    if lines:
        raise SpaceClipError(f"{file}: {lines[0]}")


def _experiment(base: Path, own: Mapping[str, Any]) -> Experiment:
    for setting, value in own.items():
        if reason := next((why for one, why in _OF_THE_STUDY.items() if f"{setting}.".startswith(f"{one}.")), ""):
            raise SpaceClipError(f"{setting} is set by the study ({reason}); leave it out")
        if setting in ("decoder", "train") and isinstance(value, dict):
            written = ", ".join(f"{setting}.{name}: {json.dumps(one)}" for name, one in value.items())
            raise SpaceClipError(f"{setting} is a section; give its settings by their whole names: {written}")
        if not setting.startswith(("decoder.", "train.")):
            raise SpaceClipError(
                f"{setting} is no arm's to set; an arm has settings decoder.* and train.*, all else belongs to the "
                f"base, {base}"
            )
    return load_experiment(base, own)


def _arm(
    name: str, own: Mapping[str, Any], experiment: Experiment, training: Features, validation: Features
) -> tuple[Arm, Protocol]:
    decoder = experiment.decoder.for_features(training.identity["tokens"]["channels"])
    for features in (training, validation):
        features.require(decoder.layers, depth=True)
    settings = experiment.train.fitted(len(training.usable[: experiment.train.overfit]))
    scoring = experiment.evaluate.model_copy(update={"flip_average": False})
    protocol = scoring.protocol("validation", validation.about, settings.min_depth, settings.max_depth)
    return Arm(name, own, decoder, settings), protocol


def _paired(arm: Arm, first: Arm) -> Arm:
    """An arm that starts from what the first one starts from, where their shapes agree."""
    start = StartSettings.between(arm.decoder, first.settings.start.of(first.decoder))
    return replace(arm, settings=arm.settings.model_copy(update={"start": start}))


def _require_comparable(arm: Arm, protocol: Protocol, before: Sequence[Arm], protocols: Sequence[Protocol]) -> None:
    """Refuse an arm that is one of those before it, sees other batches, or is scored otherwise."""
    for other in before:
        if (arm.decoder, arm.settings.deciding()) == (other.decoder, other.settings.deciding()):
            raise SpaceClipError(f"has the same settings as {other.name}, all that decide a number; leave one out")
    for name, found, wanted in arm.settings.order.differences(before[0].settings.order) if before else ():
        raise SpaceClipError(
            f"train.{name} is {found}, that of {before[0].name} {wanted}; arms see the same batches: set it in the "
            "base, or make it another study"
        )
    if protocols and protocol != protocols[0]:
        raise SpaceClipError(
            f"would be scored by another protocol ({protocol.label}) than {before[0].name} ({protocols[0].label}); set "
            "evaluate.min_depth and evaluate.max_depth in the base"
        )
