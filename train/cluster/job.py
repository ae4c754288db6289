"""What workers of a Dask cluster are told of decoders that they train, and which of them trains which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

import torch

from ...cache import FeatureCache, Features, Location, SpaceClipError, joined
from ...cache.cluster import Chosen, Environment
from ..engine import Score
from ..precision import resolve_precision
from ..run import Plan

MakeScore = Callable[[Features, Features], Score]
"""Makes a `Score` from training and validation features, which are opened where it is called."""


@dataclass(frozen=True)
class Stores:
    """The stores of a split, as workers find them.

    Attributes:
        paths: Seen by all workers under these.
        digest: Of what they hold.
    """

    paths: tuple[Location, ...]
    digest: str

    @classmethod
    def of(cls, features: Features) -> Self:
        """Those that are open here."""
        paths = (store.place.location for store in features.stores)
        return cls(tuple(path.resolve() if isinstance(path, Path) else path for path in paths), features.digest)

    def open(self, local_copy: Path | None) -> Features:
        """Open them.

        Raises:
            SpaceClipError: They are not here, or hold something else.
        """
        features = joined([FeatureCache.open(path, local_copy=local_copy) for path in self.paths])
        if features.digest != self.digest:
            raise SpaceClipError(f"{features.path}: not what the run trains on; give all workers the same stores")
        return features


@dataclass(frozen=True)
class Job:
    """What a worker must know to train; the same for all workers, and sent to each.

    Attributes:
        training: The training features.
        validation: What decoders are scored on; None without a validation split.
        plans: All decoders, their folders absolute and seen by all workers.
        score: Makes what scores decoders; a class or function of a module that workers have too, or partial of such.
        device: Chooses a worker's device; likewise.
        chosen: What all workers compute with.
        local_copy: Folder on each worker that keeps what is read of a bucket.
    """

    training: Stores
    validation: Stores | None
    plans: Sequence[Plan]
    score: MakeScore | None
    device: Callable[[], torch.device]
    chosen: Chosen
    local_copy: Path | None = None


def environment_here(device: Callable[[], torch.device]) -> Environment:
    """What a process trains with; `auto` precision means another on another kind of device.

    Raises:
        SpaceClipError: It has no such device.
    """
    here = device()
    precision = str(resolve_precision("auto", here)).removeprefix("torch.")
    return Environment(here.type, precision, (("torch", torch.__version__),))


def shares(plans: Sequence[Plan], workers: int) -> list[list[int]]:
    """Divide decoders over workers: numbers of those that are trained together, on one read.

    Each worker is given as many, but for one; those that see other batches (`TrainSettings.order`) are trained one
    after another.
    """
    kinds: dict[tuple[object, ...], list[int]] = {}
    for number, plan in enumerate(plans):
        kinds.setdefault(plan.settings.order, []).append(number)
    line = [(kind, number) for kind, numbers in kinds.items() for number in numbers]
    cut = groupby(enumerate(line), lambda found: (found[0] * workers // len(line), found[1][0]))
    return [[number for _, (_, number) in some] for _, some in cut]
