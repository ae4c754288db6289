"""The state of a run, so that a killed one goes on with the same result."""

import ast
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from ..cache import SpaceClipError, write_atomically
from .sealed import seal, unseal

STATE = "state.json"
_FORMAT, _FOLDER = 2, "unfinished-"
_PLAIN = ("steps", "history", "collapsed", "best", "seconds")
_PARTS = ("tensors", "kept")

_DECIDES = (
    "../cache/batches",
    "../cache/shuffle",
    "blocks",
    "decoder",
    "ema",
    "feed",
    "graph",
    "kernels",
    "losses",
    "precision",
    "schedule",
    "ssim",
    "start",
    "step",
    "trainee",
)
"""The modules that decide the numbers of a run: the order of the images, and what a step computes of them."""


@dataclass
class Progress:
    """What is known after a number of steps.

    Attributes:
        steps: Steps done.
        history: One row of numbers an epoch.
        best: The epoch, weights kind and validation metrics kept so far.
        tensors: Decoder, moving average, optimiser, random stream and sums, by dotted name.
        kept: The weights kept so far.
        collapsed: The seed and the last row of each earlier start that collapsed.
        seconds: Spent on reading, copying, computing and validating.
    """

    steps: int = 0
    history: list[dict[str, float | None]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    collapsed: list[dict[str, float | None]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def move_seconds(self, source: str, to: str, seconds: float) -> None:
        """Count seconds that were counted as one kind as another."""
        self.seconds[source] -= seconds
        self.seconds[to] = self.seconds.get(to, 0.0) + seconds


class StateFolder:
    """Where a run keeps its state: a folder named by everything that decides its result, the code included.

    Args:
        out: Folder of the run's results.
        identity: Settings and features of the run.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
        digest.update(deciding_code().encode())
        self.path = out / f"{_FOLDER}{digest.hexdigest()[:12]}"

    @property
    def others(self) -> list[Path]:
        """The states of other runs that the folder of results holds."""
        return sorted(path for path in self.path.parent.glob(f"{_FOLDER}*") if path != self.path)

    def load(self) -> Progress:
        """The last state written, or a fresh one.

        Raises:
            SpaceClipError: A file of it is missing, cut short or altered, or it is of another version.
        """
        file = self.path / STATE
        if not file.is_file():
            return Progress()
        try:
            content = unseal(file.read_bytes())
            if (found := content.get("format", 1)) != _FORMAT:
                raise SpaceClipError(
                    f"{self.path}: the state of an interrupted run, written by another version of SpaceCLIP (format "
                    f"{found}, expected {_FORMAT}); finish it with that version, or delete that folder, then run the "
                    "same command again to start from the first step"
                )
            tensors, kept = (_saved(self.path / content["files"][part], content["sha256"][part]) for part in _PARTS)
        except (ValueError, FileNotFoundError) as error:
            raise SpaceClipError(
                f"{self.path}: the state of an interrupted run is damaged ({error}); delete that folder, then run the "
                "same command again to start from the first step"
            ) from error
        return Progress(**{name: content[name] for name in _PLAIN}, tensors=tensors, kept=kept)

    def save(self, progress: Progress) -> None:
        """Write a state; the one before it stays whole until this one is."""
        files, digests = {}, {}
        for part in _PARTS:
            data = save({name: value.detach().cpu().contiguous() for name, value in getattr(progress, part).items()})
            digests[part] = hashlib.sha256(data).hexdigest()
            # By content, not by step: a run that starts again has a second state of the same step.
            files[part] = f"{part}-{digests[part][:12]}.safetensors"
            write_atomically(self.path / files[part], data)
        content = {name: getattr(progress, name) for name in _PLAIN}
        write_atomically(self.path / STATE, seal({"format": _FORMAT, **content, "files": files, "sha256": digests}))
        for file in self.path.glob("*.safetensors"):
            if file.name not in files.values():
                file.unlink()

    def remove(self) -> None:
        """Forget the state of a run that is finished."""
        shutil.rmtree(self.path, ignore_errors=True)


@cache
def deciding_code() -> str:
    """What the modules say that decide the numbers of a run; read once, as the process itself has read them once."""
    return code(Path(__file__).parent / f"{name}.py" for name in _DECIDES)


def code(files: Iterable[Path]) -> str:
    """What Python files say, without their comments and docstrings."""
    found = []
    for file in files:
        tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [line for line in body if not _is_text(line)]  # pyright: ignore[reportAttributeAccessIssue]
        found.append(ast.dump(tree))
    return "\n".join(found)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _saved(file: Path, sha256: str) -> dict[str, Tensor]:
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{file.name} was cut short or altered")
    return load(data)
