"""One page that sums up an evaluation: what was measured, tables, pictures, and the training run behind them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from .charts import by_scene, chart, draw_by_depth, draw_by_scene, scenes_height
from .evaluation import Evaluation
from .examples import Example
from .facts import CheckpointFacts
from .metrics import METRIC_LABELS, METRICS
from .panels import DEPTH_COLOURS, ERROR_COLOURS, HIGHEST_ERROR
from .pictures import gradient, png_address, thumbnails
from .result_files import PER_SCENE
from .results import Results, Row
from .tables import by_protocol, heading, results_tables, warnings_of
from .training_run import training_charts, training_settings

if TYPE_CHECKING:
    from jinja2 import Template

_SHOWN_SCENES = 20
_LABELS = [METRIC_LABELS[name] for name in METRICS]
_HEADLINES = ("abs_rel", "rmse", "log10", "delta1")


@dataclass(frozen=True)
class _Table:
    """Cells as they are shown; the first of a row names it."""

    header: list[str]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class _Section:
    """What was found under one protocol: its setting, how many images, and all metrics of all variants."""

    setting: str
    count: str
    metrics: _Table


@dataclass(frozen=True)
class _Picture:
    """One image: its name, its numbers in a line, the shape of its frame, and its panels by name."""

    name: str
    numbers: str
    frame: str
    panels: list[tuple[str, str]]


def report_page(evaluation: Evaluation) -> str:
    """The page as HTML that needs nothing beside it; the same evaluation gives the same text.

    Tables but the first, charts and pictures are of the first row. The curves of the training run are shown where its
    history lies beside the checkpoint.

    Raises:
        SpaceClipError: The history is no table of this version.
    """
    results, examples, scale = evaluation.results, evaluation.examples, evaluation.scale
    first = results.rows[0]
    checkpoint = evaluation.checkpoint
    return _template().render(
        results=results,
        facts=_facts(results),
        warnings=list(warnings_of(results.rows, lambda row: f"{row.protocol.name}, {heading(row)}")),
        headlines=list(_headlines(first)),
        sections=list(_sections(results)),
        label=f"{first.protocol.label}, {first.split} split",
        depth_bar={"gradient": gradient(DEPTH_COLOURS), "ticks": [(f"{tick:g}", scale(tick)) for tick in scale.ticks]},
        error_bar={
            "gradient": gradient(ERROR_COLOURS),
            "ticks": [(f"{share * HIGHEST_ERROR:g}", share) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)],
        },
        spread=_pictures(evaluation, examples.spread),
        extremes={
            "Worst images": _pictures(evaluation, examples.worst),
            "Best images": _pictures(evaluation, examples.best),
        },
        errors=[png_address(content) for content in _error_charts(evaluation)],
        scenes=_scenes(first),
        scenes_left=max(0, len(first.scenes) - _SHOWN_SCENES),
        per_scene=PER_SCENE,
        regions=_regions(first),
        curves=[png_address(content) for content in (training_charts(checkpoint) if checkpoint else ())],
        settings=training_settings(checkpoint) if checkpoint else {},
    )


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    text = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(text)


def _facts(results: Results) -> dict[str, str]:
    """What was measured, by name."""
    model, backbone = results.model, results.backbone
    found = {"Data set": results.title, model.kind.capitalize(): model.label}
    if isinstance(model, CheckpointFacts):
        found["SHA-256"] = model.sha256
    if backbone:
        found |= {"Backbone": backbone.name, "Revision": backbone.revision, "Encoder weights": backbone.weights}
    return found


def _headlines(row: Row) -> Iterator[tuple[str, str, str]]:
    """Label and value of the numbers that most readers look for, and what the best prediction without an image has."""
    best = row.best_baselines
    for name in _HEADLINES:
        beside = f"{row.baselines[best[name]][name]:.4f} ({best[name]})" if best else ""
        yield METRIC_LABELS[name], f"{row.metrics[name]:.4f}", beside


def _sections(results: Results) -> Iterator[_Section]:
    """One for each protocol; its metrics are those of the terminal's table."""
    for (setting, rows), table in zip(by_protocol(results), results_tables(results), strict=True):
        header = [str(column.header) for column in table.columns]
        lines = zip(*(map(str, column.cells) for column in table.columns), strict=True)
        yield _Section(setting, rows[0].count, _Table(header, list(islice(lines, len(METRICS)))))


def _scenes(row: Row) -> _Table:
    scenes = sorted(row.scenes.items(), key=lambda item: -item[1].metrics["abs_rel"])[:_SHOWN_SCENES]
    return _Table(
        ["Scene", "Images", *_LABELS], [(name, str(mean.images), *_cells(mean.metrics)) for name, mean in scenes]
    )


def _regions(row: Row) -> _Table:
    lines = [
        (name.replace("_", " "), str(mean.images), *_cells(mean.metrics))
        for name, mean in row.regions.items()
        if mean.metrics
    ]
    return _Table(["Region", "Images", *_LABELS], lines)


def _error_charts(evaluation: Evaluation) -> Iterator[bytes]:
    if evaluation.scores:
        scores, baseline = evaluation.scores[0], evaluation.baseline
        yield chart(lambda ax: draw_by_depth(ax, scores, baseline, evaluation.results.title))
        if by_scene(scores):
            yield chart(lambda ax: draw_by_scene(ax, scores, baseline), scenes_height(scores))


def _pictures(evaluation: Evaluation, examples: Sequence[Example]) -> list[_Picture]:
    protocol = evaluation.results.rows[0].protocol
    found = []
    for example in examples:
        score, (height, width) = example.score, example.ground_truth.shape
        metrics = score.metrics
        numbers = f"AbsRel {metrics['abs_rel']:.4f}, RMSE {metrics['rmse']:.2f} m, δ1 {metrics['delta1']:.3f}"
        pictures = thumbnails(example, protocol, evaluation.scale)
        found.append(_Picture(score.sample_id, numbers, f"{width} / {height}", pictures))
    return found


def _cells(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4f}" for name in METRICS]
