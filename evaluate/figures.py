"""Figures of a result: predictions beside the truth, and where the error lies."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .examples import Example
from .protocol import Protocol
from .scoring import Scores, prepare
from .text import literal_text, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_DEPTH_COLOURS, _ERROR_COLOURS, _UNKNOWN = "viridis_r", "magma", "0.82"
_HIGHEST_ERROR = 0.5  # one scale for every figure, so that two figures can be compared by eye
_SHOWN_COLUMNS = 320
_SHOWN_SCENES = 20


@dataclass(frozen=True)
class _Panels:
    """What is drawn of one sample, NaN where nothing is known: maps [h, w], and the line above them."""

    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    error: NDArray[np.float64]
    label: str


@literal_text()
def prediction_figure(rows: Sequence[Example], protocol: Protocol, caption: str) -> bytes:
    """Draw image, ground truth, prediction and relative error of some samples, a row each, as a PNG file.

    Truth and prediction of a row share one scale in metres, which spans the truth; the prediction is drawn as the
    protocol scores it, and the error where it scores. The caption says what was measured.
    """
    from matplotlib.figure import Figure

    shares = [row.ground_truth.shape[0] / row.ground_truth.shape[1] for row in rows]
    heights = [3.0 * share + 0.45 for share in shares]
    heights[0] += 0.2  # the column titles
    figure = Figure(figsize=(13.5, sum(heights) + 1.0), layout="constrained")
    figure.suptitle(printable(caption), x=0.01, ha="left", fontsize=9)
    parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, part in zip(rows, parts, strict=True):
        _draw_row(part, row.image, _panels(row, protocol), titled=part is parts[0])
    return png(figure)


@literal_text()
def error_figure(scores: Scores, baseline: Scores | None, caption: str) -> bytes:
    """Draw AbsRel by true depth and, where scenes are named, by scene, beside the baseline if any, as a PNG file.

    The bars by depth pool the pixels of all images; those by scene are means over images, worst scene first.
    """
    from matplotlib.figure import Figure

    scenes = len(_by_scene(scores))
    height = max(4.2, 1.6 + 0.22 * min(scenes, _SHOWN_SCENES))
    figure = Figure(figsize=(11 if scenes else 6, height), layout="constrained")
    figure.suptitle(printable(caption), x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(1, 2 if scenes else 1, squeeze=False)[0]
    _draw_by_depth(axes[0], scores, baseline)
    if scenes:
        _draw_by_scene(axes[1], scores, baseline)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return png(figure)


def _draw_by_depth(ax: "Axes", scores: Scores, baseline: Scores | None) -> None:
    edges = scores.depth_edges
    bars = ax.bar(edges[:-1], scores.depth_abs_rel, np.diff(edges), align="edge", color="C0", edgecolor="white")
    ax.set(xlabel="true depth (m)", ylabel="AbsRel over the pixels of a bin", title="Error by depth")
    if baseline:
        line = ax.stairs(baseline.depth_abs_rel, edges, color="C1", linewidth=1.8)
        ax.legend((bars, line), ("prediction", "best without an image"), frameon=False)


def _draw_by_scene(ax: "Axes", scores: Scores, baseline: Scores | None) -> None:
    scenes = _by_scene(scores)
    shown = sorted(scenes, key=lambda scene: -scenes[scene])[:_SHOWN_SCENES]
    left_out = f", worst {len(shown)} of {len(scenes)}" if len(shown) < len(scenes) else ""
    ax.barh(shown, [scenes[scene] for scene in shown], color="C0")
    if baseline:
        base = _by_scene(baseline)
        ax.plot([base[scene] for scene in shown], shown, "|", color="C1", markersize=11, markeredgewidth=2)
    ax.set(xlabel="AbsRel, mean over images", title=f"Error by scene{left_out}")
    ax.tick_params(axis="y", labelsize=8)
    ax.set_ylim(max(len(shown), 6) - 0.5, -0.5)  # bars of few scenes stay slim


def _draw_row(part: "SubFigure", image: NDArray[np.uint8], panels: _Panels, *, titled: bool) -> None:
    part.suptitle(printable(panels.label), x=0.01, ha="left", fontsize=9, fontweight="bold")
    axes = part.subplots(1, 4)
    height, width = panels.truth.shape
    extent = (0, width, height, 0)
    scale: dict[str, Any] = {"cmap": _DEPTH_COLOURS, "vmin": np.nanmin(panels.truth), "vmax": np.nanmax(panels.truth)}
    axes[0].imshow(image, extent=extent)
    axes[1].imshow(panels.truth, extent=extent, **scale)
    depth = axes[2].imshow(panels.prediction, extent=extent, **scale)
    error = axes[3].imshow(panels.error, extent=extent, cmap=_ERROR_COLOURS, vmin=0, vmax=_HIGHEST_ERROR)
    beside = (1.03, 0, 0.04, 1)
    part.colorbar(depth, cax=axes[2].inset_axes(beside), label="m", extend="both")
    part.colorbar(error, cax=axes[3].inset_axes(beside), label="|p - g| / g", extend="max")
    for ax, title in zip(axes, ("Image", "Ground truth", "Prediction", "Relative error"), strict=True):
        ax.set(xticks=[], yticks=[], facecolor=_UNKNOWN)
        if titled:
            ax.set_title(title, fontsize=10)


def _panels(row: Example, protocol: Protocol) -> _Panels:
    prediction, valid = prepare(row.prediction, row.ground_truth, protocol)
    known = row.ground_truth > 0
    error = np.abs(prediction - row.ground_truth) / np.where(known, row.ground_truth, 1)
    side = max(1, known.shape[1] // _SHOWN_COLUMNS)
    # Single LiDAR points would not be seen: blocks so large that most of them hold one.
    sparse_side = max(side, math.ceil(math.sqrt(2 / max(float(known.mean()), 0.02))))
    return _Panels(
        truth=_thin(row.ground_truth, known, sparse_side),
        prediction=_thin(prediction, np.ones_like(known), side),
        error=_thin(error, valid, sparse_side),
        label=f"{row.score.sample_id}    AbsRel {row.score.metrics['abs_rel']:.4f}",
    )


def _thin(values: NDArray, known: NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """Average the known pixels of square blocks; NaN where a block has none."""
    height, width = (length // side for length in values.shape)

    def sums(pixels: NDArray) -> NDArray[np.float64]:
        return pixels[: height * side, : width * side].reshape(height, side, width, side).sum((1, 3), dtype=np.float64)

    total, count = sums(np.where(known, values, 0)), sums(known)
    return np.divide(total, count, out=np.full((height, width), np.nan), where=count > 0)


def _by_scene(scores: Scores) -> dict[str, float]:
    """Mean AbsRel of each named scene."""
    return {
        printable(scene): float(np.mean([image.metrics["abs_rel"] for image in images]))
        for scene, images in scores.scenes().items()
    }


def png(figure: "Figure") -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
