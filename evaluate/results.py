"""A result with everything that a reader must know beside it: as files and as a table."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..cache import SpaceClipError, write_atomically
from .metrics import METRICS
from .protocol import Protocol
from .scoring import Scores

if TYPE_CHECKING:
    from rich.table import Table

RESULTS = "results.json"
NUMBERS = "metrics.json"
PER_IMAGE = "per_image.csv"

METRIC_LABELS = {
    "abs_rel": "AbsRel ↓",
    "sq_rel": "SqRel (m) ↓",
    "rmse": "RMSE (m) ↓",
    "rmse_log": "RMSE log ↓",
    "log10": "log10 ↓",
    "silog": "SILog ↓",
    "delta1": "δ < 1.25 ↑",
    "delta2": "δ < 1.25² ↑",
    "delta3": "δ < 1.25³ ↑",
}


class CheckpointFacts(BaseModel):
    """Which weights were scored: the raw ones or their moving average, of which epoch, from which file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    epoch: int
    weights: Literal["raw", "ema"]

    @property
    def label(self) -> str:
        """One short line."""
        weights = {"raw": "raw", "ema": "EMA"}[self.weights]
        return f"{self.path}, {weights} weights of epoch {self.epoch}"


class BackboneFacts(BaseModel):
    """Which frozen encoder made the features; a random one says so in `revision`, with its seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str
    random: bool

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> Self:
        """From the backbone's identity in a store or checkpoint."""
        name = str(identity["name"])
        return cls(name=name, revision=str(identity["revision"]), random=name.startswith("random:"))

    @property
    def label(self) -> str:
        """One short line."""
        return f"{self.name} ({self.revision if self.random else self.revision[:12]})"


class Results(BaseModel):
    """The mean metrics of a checkpoint and of the mean-depth baseline, over the same images and protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Protocol
    images: int
    skipped: tuple[str, ...]
    metrics: dict[str, float]
    baseline: dict[str, float]
    checkpoint: CheckpointFacts
    backbone: BackboneFacts

    @classmethod
    def of(cls, scores: Scores, baseline: Scores, checkpoint: CheckpointFacts, backbone: BackboneFacts) -> Self:
        """Put the scores of a checkpoint beside those of the baseline."""
        return cls(
            protocol=scores.protocol,
            images=len(scores.images),
            skipped=scores.skipped,
            metrics=scores.mean,
            baseline=baseline.mean,
            checkpoint=checkpoint,
            backbone=backbone,
        )

    @property
    def caption(self) -> str:
        """What the numbers are: protocol, images, weights and backbone, a line each."""
        skipped = f", {len(self.skipped)} skipped without a valid pixel" if self.skipped else ""
        return "\n".join(
            (
                self.protocol.label,
                f"mean over {self.images} images{skipped}",
                f"checkpoint: {self.checkpoint.label}",
                f"backbone: {self.backbone.label}",
            )
        )


def write_results(folder: Path, results: Results, scores: Scores) -> None:
    """Write `results.json` (all), `metrics.json` (flat numbers, for `dvc metrics show`) and `per_image.csv`.

    Each file appears whole or not at all; `results.json` comes last.
    """
    numbers = {
        **results.metrics,
        **{f"baseline_{name}": value for name, value in results.baseline.items()},
        "images": results.images,
        "skipped": len(results.skipped),
    }
    write_atomically(folder / PER_IMAGE, _per_image(scores).encode())
    write_atomically(folder / NUMBERS, (json.dumps(numbers, indent=2) + "\n").encode())
    write_atomically(folder / RESULTS, (results.model_dump_json(indent=2) + "\n").encode())


def read_results(folder: Path) -> Results:
    """Read what `write_results` wrote.

    Raises:
        SpaceClipError: there is no result, or it is not one of this version's.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise SpaceClipError(f"{path} is not there, expected the result of an evaluation: run `spaceclip evaluate`")
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "its JSON"
        raise SpaceClipError(f"{path} is no valid result, {where}: {fault['msg']}; evaluate again") from error


def results_table(results: Results) -> "Table":
    """Lay the metrics beside the mean-depth baseline, with what is gained; the caption says what they are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=Text(results.caption), caption_justify="left", min_width=72)
    table.add_column("Metric")
    for column in ("Decoder", "Mean depth", "Improvement"):
        table.add_column(column, justify="right")
    for name in METRICS:
        value, baseline = results.metrics[name], results.baseline[name]
        table.add_row(METRIC_LABELS[name], f"{value:.4f}", f"{baseline:.4f}", _improvement(name, value, baseline))
    return table


def _improvement(name: str, value: float, baseline: float) -> str:
    if baseline == 0:
        return "-"
    gain = value - baseline if name.startswith("delta") else baseline - value
    return f"{100 * gain / baseline:+.1f} %"


def _per_image(scores: Scores) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("sample_id", "scene", *METRICS))
    for image in scores.images:
        table.writerow((image.sample_id, image.scene or "", *(image.metrics[name] for name in METRICS)))
    return text.getvalue()
