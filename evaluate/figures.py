"""Figures of a result: predictions beside the truth, and where the error lies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .breakdown import Breakdown
from .charts import draw_by_depth, draw_by_scene, png, scenes_height
from .examples import Example
from .panels import DEPTH_COLOURS, ERROR_COLOURS, HIGHEST_ERROR, UNKNOWN, DepthScale, Panels, panels
from .protocol import Protocol
from .text import literal_text, printable

if TYPE_CHECKING:
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import SubFigure
    from matplotlib.image import AxesImage


@literal_text()
def prediction_figure(rows: Sequence[Example], protocol: Protocol, scale: DepthScale, data: str, caption: str) -> bytes:
    """Draw image, ground truth, prediction and relative error of some images, a row each, as a PNG file.

    All truths and predictions share one scale. The prediction is drawn as the protocol scores it, the error where it
    scores.

    Args:
        rows: The images.
        protocol: How they were scored.
        scale: The colours of depth.
        data: Name of the data set.
        caption: What was measured.
    """
    from matplotlib.figure import Figure

    shares = [row.ground_truth.shape[0] / row.ground_truth.shape[1] for row in rows]
    heights = [3.0 * share + 0.4 for share in shares]
    heights[0] += 0.2  # the column titles
    figure = Figure(figsize=(13, sum(heights) + 1.8), layout="constrained")
    figure.suptitle(printable(caption), x=0.01, ha="left", fontsize=9)
    parts = figure.subfigures(len(rows) + 1, 1, height_ratios=[*heights, 0.7], squeeze=False)[:, 0]
    drawn = []
    for row, part in zip(rows, parts, strict=False):
        part.suptitle(printable(f"{row.score.sample_id}    AbsRel {row.score.metrics['abs_rel']:.4f}"),
                      x=0.01, ha="left", fontsize=9, fontweight="bold")  # fmt: skip
        drawn.append(_draw_row(part, panels(row, protocol), scale, titled=part is parts[0]))
    depth, error = drawn[0]
    bars = parts[-1]
    bar = _colourbar(bars, depth, (0.27, 0.46), f"{data}: depth (m)", extend="both")
    bar.set_ticks([float(scale(tick)) for tick in scale.ticks], labels=[f"{tick:g}" for tick in scale.ticks])
    _colourbar(bars, error, (0.77, 0.21), "relative error, |prediction - truth| / truth", extend="max")
    return png(figure)


@literal_text()
def error_figure(found: Breakdown, baseline: Breakdown | None, data: str, caption: str) -> bytes:
    """Draw AbsRel by true depth and, where scenes are named, by scene, beside the baseline if any, as a PNG file.

    The bars by depth pool the pixels of all images; those by scene are means over images, worst scene first.
    """
    from matplotlib.figure import Figure

    scenes = len(found.by_scene)
    figure = Figure(figsize=(11 if scenes else 6, scenes_height(found) + 0.8), layout="constrained")
    figure.suptitle(printable(caption), x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(1, 2 if scenes else 1, squeeze=False)[0]
    draw_by_depth(axes[0], found, baseline, printable(data))
    if scenes:
        draw_by_scene(axes[1], found, baseline)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return png(figure)


def _draw_row(part: "SubFigure", shown: Panels, scale: DepthScale, *, titled: bool) -> "tuple[AxesImage, AxesImage]":
    axes = part.subplots(1, 4)
    height, width = shown.truth.shape
    frame: dict[str, Any] = {"extent": (0, width, height, 0)}
    axes[0].imshow(shown.image, **frame)
    axes[1].imshow(scale(shown.truth), cmap=DEPTH_COLOURS, vmin=0, vmax=1, **frame)
    depth = axes[2].imshow(scale(shown.prediction), cmap=DEPTH_COLOURS, vmin=0, vmax=1, **frame)
    error = axes[3].imshow(shown.error, cmap=ERROR_COLOURS, vmin=0, vmax=HIGHEST_ERROR, **frame)
    for ax, title in zip(axes, ("Image", "Ground truth", "Prediction", "Relative error"), strict=True):
        ax.set(xticks=[], yticks=[], facecolor=str(UNKNOWN))
        if titled:
            ax.set_title(title, fontsize=10)
    return depth, error


def _colourbar(
    part: "SubFigure", image: "AxesImage", across: tuple[float, float], label: str, **options: Any
) -> "Colorbar":
    """A bar below the panels: where it begins and how wide it is, as shares of the width."""
    ax = part.add_axes((across[0], 0.62, across[1], 0.22))
    return part.colorbar(image, cax=ax, orientation="horizontal", label=printable(label), **options)
