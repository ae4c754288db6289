"""The state of a run after its last whole epoch, so that a killed one goes on with the same result."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from ..cache import SpaceClipError, write_atomically
from .sealed import seal, unseal

STATE = "state.json"
_PARTS = ("tensors", "kept")


@dataclass
class Progress:
    """What is known after a number of whole epochs.

    Attributes:
        epoch: Epochs done.
        history: One row of numbers an epoch.
        best: The epoch, weights kind and validation metrics kept so far.
        tensors: Decoder, moving average and optimiser, by dotted name.
        kept: The weights kept so far.
    """

    epoch: int = 0
    history: list[dict[str, float | None]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)


class StateFolder:
    """Where a run keeps its state: a folder named by everything that decides its result, the code included.

    Args:
        out: Folder of the run's results.
        identity: Settings and features of the run.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
        for source in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(source.read_bytes())
        self.path = out / f"unfinished-{digest.hexdigest()[:12]}"

    def load(self) -> Progress:
        """The last state written, or a fresh one.

        Raises:
            SpaceClipError: A file of it is missing, cut short or altered.
        """
        file = self.path / STATE
        if not file.is_file():
            return Progress()
        try:
            content = unseal(file.read_bytes())
            tensors, kept = (_saved(self.path / content["files"][part], content["sha256"][part]) for part in _PARTS)
        except (ValueError, FileNotFoundError) as error:
            raise SpaceClipError(
                f"{self.path}: the state of an interrupted run is damaged ({error}); delete that folder, then run the "
                "same command again to start from the first epoch"
            ) from error
        return Progress(content["epoch"], content["history"], content["best"], tensors, kept)

    def save(self, progress: Progress) -> None:
        """Write a state; the one before it stays whole until this one is."""
        files, digests = {}, {}
        for part in _PARTS:
            data = save({name: value.detach().cpu().contiguous() for name, value in getattr(progress, part).items()})
            files[part], digests[part] = f"{part}-{progress.epoch:04d}.safetensors", hashlib.sha256(data).hexdigest()
            write_atomically(self.path / files[part], data)
        content = {"epoch": progress.epoch, "history": progress.history, "best": progress.best}
        write_atomically(self.path / STATE, seal({**content, "files": files, "sha256": digests}))
        for file in self.path.glob("*.safetensors"):
            if file.name not in files.values():
                file.unlink()

    def remove(self) -> None:
        """Forget the state of a run that is finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def _saved(file: Path, sha256: str) -> dict[str, Tensor]:
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{file.name} was cut short or altered")
    return load(data)
