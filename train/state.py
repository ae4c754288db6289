"""The state of a run after its last whole epoch, so that a killed one goes on with the same result."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from ..cache import write_atomically

STATE = "state.json"


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
        """The last state written, or a fresh one."""
        file = self.path / STATE
        if not file.is_file():
            return Progress()
        content = json.loads(file.read_bytes())
        tensors, kept = (load_file(self.path / content[name]) for name in ("tensors", "kept"))
        return Progress(content["epoch"], content["history"], content["best"], tensors, kept)

    def save(self, progress: Progress) -> None:
        """Write a state; the one before it stays whole until this one is."""
        files = {name: f"{name}-{progress.epoch:04d}.safetensors" for name in ("tensors", "kept")}
        write_atomically(self.path / files["tensors"], save(_plain(progress.tensors)))
        write_atomically(self.path / files["kept"], save(_plain(progress.kept)))
        content = {"epoch": progress.epoch, "history": progress.history, "best": progress.best, **files}
        write_atomically(self.path / STATE, json.dumps(content, indent=1).encode())
        for file in self.path.glob("*.safetensors"):
            if file.name not in files.values():
                file.unlink()

    def remove(self) -> None:
        """Forget the state of a run that is finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
