"""One page that sums up an evaluation: what was measured, tables, figures, and the training run behind them."""

import csv
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache import SpaceClipError
from ..train import HISTORY, Checkpoint
from .evaluation import Evaluation
from .examples import Example
from .facts import CheckpointFacts
from .figures import png
from .metrics import METRIC_LABELS, METRICS
from .result_files import ERRORS, FIGURE, PER_SCENE
from .results import Results
from .tables import by_protocol, results_tables
from .text import literal_text

if TYPE_CHECKING:
    from jinja2 import Template

_SHOWN_SCENES = 20
_LABELS = [METRIC_LABELS[name] for name in METRICS]
_PICTURES = {
    FIGURE: ("Predictions", "Image, ground truth, prediction and relative error of some samples"),
    ERRORS: ("Errors", "Absolute relative error by true depth and by scene"),
}


@dataclass(frozen=True)
class _Table:
    """Cells as they are shown; the first of a row names it."""

    header: list[str]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class _Section:
    """What was found under one protocol: its setting, how many images, all metrics, and those of the regions."""

    setting: str
    count: str
    metrics: _Table
    regions: _Table


def report_page(evaluation: Evaluation, figures: Mapping[str, bytes]) -> str:
    """The page as HTML that needs nothing beside it; the same evaluation gives the same text.

    The training run is shown where its history lies beside the checkpoint that was scored.

    Args:
        evaluation: What was found.
        figures: PNG files by name, to be shown.

    Raises:
        SpaceClipError: The history is no table of this version.
    """
    results = evaluation.results
    first = results.rows[0]
    scenes = sorted(first.scenes.items(), key=lambda item: -item[1].metrics["abs_rel"])
    shown = [(scene, str(mean.images), *_cells(mean.metrics)) for scene, mean in scenes[:_SHOWN_SCENES]]
    examples = evaluation.examples
    return _template().render(
        results=results,
        facts=_facts(results),
        warnings=[f"{row.protocol.key}: {text}" for row in results.rows for text in row.warnings],
        sections=list(_sections(results)),
        label=f"{first.protocol.label}, {first.split} split",
        scenes=_Table(["Scene", "Images", *_LABELS], shown),
        scenes_left=len(scenes) - len(shown),
        per_scene=PER_SCENE,
        images={"Worst images": _images(examples.worst), "Best images": _images(examples.best)},
        figures=[(*_PICTURES[name], _embedded(content)) for name, content in figures.items()],
        training=_training(evaluation.checkpoint) if evaluation.checkpoint else None,
    )


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    text = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(text)


def _facts(results: Results) -> dict[str, str]:
    """What was measured, by name."""
    model, backbone = results.model, results.backbone
    found = {"Data set": results.data, model.kind.capitalize(): model.label}
    if isinstance(model, CheckpointFacts):
        found["SHA-256"] = model.sha256
    if backbone:
        found |= {"Backbone": backbone.name, "Revision": backbone.revision, "Encoder weights": backbone.weights}
    return found


def _sections(results: Results) -> Iterator[_Section]:
    """One for each protocol; its metrics are those of the terminal's table."""
    for (setting, rows), table in zip(by_protocol(results), results_tables(results), strict=True):
        header = [str(column.header) for column in table.columns]
        lines = zip(*(map(str, column.cells) for column in table.columns), strict=True)
        metrics = _Table(header, list(islice(lines, len(METRICS))))
        regions = [
            (f"{region.replace('_', ' ')}, {heading}", str(row.regions[region].images), *_cells(measured))
            for region in rows[0].regions
            for row, heading in zip(rows, header[1:], strict=False)
            if (measured := row.regions[region].metrics)
        ]
        yield _Section(setting, rows[0].count, metrics, _Table(["Region", "Images", *_LABELS], regions))


def _images(examples: Sequence[Example]) -> _Table:
    scores = [example.score for example in examples]
    rows = [(score.sample_id, str(score.pixels), *_cells(score.metrics)) for score in scores]
    return _Table(["Image", "Pixels", *_LABELS], rows)


def _training(checkpoint: Checkpoint) -> dict[str, Any]:
    """Settings and curves of the run that made the weights."""
    info = checkpoint.info
    settings = {"Training": info.training, "Decoder": info.decoder.model_dump(mode="json")}
    return {
        "curves": _curves(checkpoint.path.with_name(HISTORY), info.epoch),
        "settings": {title: dict(_flat(values)) for title, values in settings.items()},
    }


@literal_text()
def _curves(path: Path, kept: int) -> str | None:
    """Loss and, where a validation split was scored, its AbsRel over the epochs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not path.is_file():
        return None
    names = ("epoch", "loss", "val_raw", "val_ema")
    values = _read(path, names)
    scored = any(map(math.isfinite, values["val_raw"]))
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    axes[0].plot(values["epoch"], values["loss"], ".-")
    axes[0].set(title="Training loss")
    if scored:
        axes[1].plot(values["epoch"], values["val_raw"], ".-", label="raw weights")
        axes[1].plot(values["epoch"], values["val_ema"], ".-", label="EMA weights")
        axes[1].set(title="Validation AbsRel")
    for ax in axes:
        ax.axvline(kept, color="0.5", linestyle=":", label=f"kept: epoch {kept}")
        ax.legend(frameon=False)
        ax.set(xlabel="epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
    return _embedded(png(figure))


def _read(path: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Columns of a table by name; a number that is not there is NaN."""
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
    """Settings with the full name of those in sections of their own."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cells(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4f}" for name in METRICS]


def _embedded(content: bytes) -> str:
    """A PNG as the address of an image."""
    return f"data:image/png;base64,{b64encode(content).decode()}"
