"""The page of an evaluation: what was measured, where the error lies, images, and the training run behind it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from ...train import Checkpoint
from ..charts import SHOWN_SCENES, chart, draw_by_depth, draw_by_place, draw_by_scene, scenes_height
from ..comparison import cells, comparison
from ..examples import Example
from ..facts import CheckpointFacts
from ..metrics import METRIC_LABELS, METRICS, better
from ..panels import SHOWN_COLUMNS, DepthScale
from ..pictures import KINDS, pictures
from ..probing import FeatureViews
from ..result_files import PER_SCENE
from ..results import Results, Row
from ..tables import by_protocol, heading, results_tables, warnings_of
from ..training_run import training_charts, training_settings
from .gallery import Gallery, Picture, Shown
from .page import Chart, Page, Section, Table, render
from .views import views_section

_LABELS = [METRIC_LABELS[name] for name in METRICS]
_HEADLINES = ("abs_rel", "rmse", "log10", "delta1")
RANDOM = "Random encoder weights: these numbers say nothing about SPACE-CLIP's accuracy."
BOUNDARIES = (
    "Mean over the images that have such pixels. The number is the step of log depth between neighbouring pixels that "
    "makes a boundary."
)


def run_page(
    results: Results,
    examples: Mapping[str, Sequence[Example]],
    checkpoint: Checkpoint | None = None,
    views: FeatureViews | None = None,
    *,
    timed: bool = False,
) -> str:
    """The page as HTML that needs nothing beside it; the same evaluation gives the same text.

    Charts, pictures, and tables but the first, are of the first row. The curves of the training run are shown where its
    history lies beside the checkpoint.

    Args:
        results: The numbers.
        examples: Images scored by the protocol of the first row, by group.
        checkpoint: What was scored; None for saved maps.
        views: Layers of some of the images; None for saved maps.
        timed: Say where the time of the training run went, which is another one each time.

    Raises:
        SpaceClipError: The history is no table of this version.
    """
    first, truths = results.rows[0], [one.ground_truth for group in examples.values() for one in group]
    scale = DepthScale.of(truths, "log") if truths else None
    notices = [RANDOM] if results.backbone and results.backbone.random else []
    warnings = warnings_of(results.rows, lambda row: f"{row.protocol.name}, {heading(row)}")
    page = Page(
        title=f"Depth evaluation: {results.title}",
        asked=f"How far from the measured depth are the predictions of {results.model.label}?",
        measured=f"{first.protocol.label}; {first.count}.",
        answered=_answer(first),
        notices=[*notices, *map(": ".join, warnings)],
        headlines=list(_headlines(first)),
        sections=[*_protocols(results), Section("Where the error lies", charts=list(_error_charts(results, first)))],
        details=[*([views_section(views, scale)] if views and scale else []), *_details(first, checkpoint)],
        gallery=_gallery(results, examples, scale) if scale else None,
        provenance=_provenance(results, checkpoint, timed=timed),
    )
    return render(page)


def _answer(row: Row) -> str:
    found = f"AbsRel {row.metrics['abs_rel']:.4f}, RMSE {row.metrics['rmse']:.3f} m, δ1 {row.metrics['delta1']:.3f}"
    if not row.baselines:
        return f"{found}."
    name = row.best_baselines["abs_rel"]
    base = row.baselines[name]["abs_rel"]
    change = better("abs_rel") * (row.metrics["abs_rel"] - base) / base if base else 0.0
    verdict = f"{abs(change):.1%} {'better' if change > 0 else 'worse'} than"
    return f"{found}: by AbsRel {verdict} the best prediction without an image ({name}, {base:.4f})."


def _headlines(row: Row) -> Iterator[tuple[str, str, str]]:
    """Label and value of the numbers that most readers look for, and what the best prediction without an image has."""
    best = row.best_baselines
    for name in _HEADLINES:
        beside = f"without an image {row.baselines[best[name]][name]:.4f} ({best[name]})" if best else ""
        yield METRIC_LABELS[name], f"{row.metrics[name]:.4f}", beside


def _protocols(results: Results) -> Iterator[Section]:
    """One for each protocol, its metrics those of the terminal's table; then the published rows it may stand beside."""
    beside = (
        "Beside the predictions, metric by metric: the best of what knows no image on the same images (mean and median "
        "map of the training set, its median, and the constant of the lowest AbsRel), and the improvement of the first "
        "column over it."
    )
    for (setting, rows), table in zip(by_protocol(results), results_tables(results), strict=True):
        header = [str(column.header) for column in table.columns]
        lines = zip(*(map(str, column.cells) for column in table.columns), strict=True)
        metrics = Table(header, list(islice(lines, len(METRICS))), beside if rows[0].baselines else "")
        yield Section(setting, [f"{rows[0].count[0].upper()}{rows[0].count[1:]}."], [metrics])
    for found in comparison([("this run", results)]):
        title, header, lines, notes = cells(found.comparable)
        ours = frozenset(at for at, line in enumerate(found.comparable.lines) if line.ours)
        if ours:
            yield Section(f"{title}: beside published rows", tables=[Table(header, lines, " ".join(notes), ours)])


def _details(row: Row, checkpoint: Checkpoint | None) -> Iterator[Section]:
    yield Section("Boundaries and interiors", [BOUNDARIES], [_regions(row)])
    left = len(row.scenes) - SHOWN_SCENES
    yield Section("Scenes, highest AbsRel first", [f"{left} more in {PER_SCENE}."] if left > 0 else (), [_scenes(row)])
    labels = ("Training loss over the epochs", "Validation AbsRel over the epochs")
    curves = training_charts(checkpoint) if checkpoint else []
    yield Section("Training", charts=[Chart(*found) for found in zip(curves, labels, strict=False)])


def _error_charts(results: Results, row: Row) -> Iterator[Chart]:
    found, baseline = row.breakdown, row.baseline_breakdown
    if found is None:
        return
    yield Chart(chart(lambda ax: draw_by_depth(ax, found, baseline, results.title)), "AbsRel by true depth")
    if found.by_place:
        yield Chart(chart(lambda ax: draw_by_place(ax, found)), "AbsRel by place in the frame")
    if found.by_scene:
        yield Chart(chart(lambda ax: draw_by_scene(ax, found, baseline), scenes_height(found)), "AbsRel by scene")


def _regions(row: Row) -> Table:
    lines = [
        (name.replace("_", " "), str(mean.images), *_cells(mean.metrics))
        for name, mean in row.regions.items()
        if mean.metrics
    ]
    return Table(["Region", "Images", *_LABELS], lines)


def _scenes(row: Row) -> Table:
    scenes = sorted(row.scenes.items(), key=lambda item: -item[1].metrics["abs_rel"])[:SHOWN_SCENES]
    return Table(
        ["Scene", "Images", *_LABELS], [(name, str(mean.images), *_cells(mean.metrics)) for name, mean in scenes]
    )


def _gallery(results: Results, examples: Mapping[str, Sequence[Example]], scale: DepthScale) -> Gallery:
    protocol, shown = results.rows[0].protocol, []
    for group, found in examples.items():
        for example in found:
            score, (height, width) = example.score, example.ground_truth.shape
            metrics = score.metrics
            numbers = (
                f"{group}: AbsRel {metrics['abs_rel']:.4f}, RMSE {metrics['rmse']:.2f} m, δ1 {metrics['delta1']:.3f}"
            )
            made = pictures(example, protocol, scale, SHOWN_COLUMNS)
            shown.append(
                Shown(
                    score.sample_id, score.scene or "", group, numbers, f"{width} / {height}",
                    [Picture(made[kind], f"{kind} of {score.sample_id}", kind) for kind in KINDS],
                )
            )  # fmt: skip
    text = (
        f"The images of the lowest, the middle and the highest AbsRel of all {results.rows[0].images}. One scale of "
        "metres for all of them; grey is not known or not scored."
    )
    return Gallery(shown, text, results.title, scale)


def _provenance(results: Results, checkpoint: Checkpoint | None, *, timed: bool) -> dict[str, dict[str, str]]:
    """What was measured, with what it was made."""
    model, backbone, row = results.model, results.backbone, results.rows[0]
    found = {"Data set": results.title, model.kind.capitalize(): model.label}
    if isinstance(model, CheckpointFacts):
        found["SHA-256"] = model.sha256
    if backbone:
        found |= {"Backbone": backbone.name, "Revision": backbone.revision, "Encoder weights": backbone.weights}
    if row.samples_sha256:
        found["Ids of the images, SHA-256"] = row.samples_sha256
    if looks := next((row.looks for row in results.rows if row.looks), None):
        found["Looks"] = str(looks)
    facts = {"What was measured": found}
    if checkpoint:
        info = checkpoint.info
        seen = {"trained on": info.stores, "chosen by": info.validation}
        facts["Features"] = {
            f"{use}, {store['images']} images": f"store {store['fingerprint']}, ledger {store['ledger'][:12]}"
            for use, stores in seen.items()
            for store in stores
        }
        facts |= training_settings(checkpoint)
        if info.receipt:
            if timed:
                facts["Time of the training run"] = {"Receipt": str(info.receipt)}
            facts["The weights were made with"] = info.receipt.made_with
    return facts


def _cells(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4f}" for name in METRICS]
