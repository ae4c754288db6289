"""Charts: where the error lies, and how the training went."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .scoring import Scores
from .text import literal_text, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_SCENES = 20


@literal_text()
def chart(draw: Callable[["Axes"], None], height: float = 3.4) -> bytes:
    """One chart as a PNG file, without a background."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, height), layout="constrained")
    ax = figure.subplots()
    draw(ax)
    ax.spines[["top", "right"]].set_visible(False)
    return png(figure, transparent=True)


def png(figure: "Figure", *, transparent: bool = False, dpi: int = 150) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, transparent=transparent)
    return buffer.getvalue()


def draw_by_depth(ax: "Axes", scores: Scores, baseline: Scores | None, data: str) -> None:
    """AbsRel by true depth, over the pixels of all images together."""
    edges = scores.depth_edges
    bars = ax.bar(edges[:-1], scores.depth_abs_rel, np.diff(edges), align="edge", color="C0", edgecolor="white")
    ax.set(xlabel=f"{data}: true depth (m)", ylabel="AbsRel over the pixels of a bin", title="Error by depth")
    if baseline:
        # Room above the bars for the legend.
        ax.set_ylim(0, 1.3 * np.nanmax([scores.depth_abs_rel, baseline.depth_abs_rel]))
        line = ax.stairs(baseline.depth_abs_rel, edges, color="C1", linewidth=1.8)
        ax.legend((bars, line), ("prediction", "best without an image"), frameon=False, loc="upper left")


def draw_by_scene(ax: "Axes", scores: Scores, baseline: Scores | None) -> None:
    """AbsRel by scene, the mean over its images, worst scene first."""
    scenes = by_scene(scores)
    shown = sorted(scenes, key=lambda scene: -scenes[scene])[:_SHOWN_SCENES]
    left_out = f", worst {len(shown)} of {len(scenes)}" if len(shown) < len(scenes) else ""
    ax.barh(shown, [scenes[scene] for scene in shown], color="C0")
    if baseline:
        base = by_scene(baseline)
        ax.plot([base[scene] for scene in shown], shown, "|", color="C1", markersize=11, markeredgewidth=2)
    ax.set(xlabel="AbsRel, mean over images", title=f"Error by scene{left_out}")
    ax.tick_params(axis="y", labelsize=8)
    ax.set_ylim(max(len(shown), 6) - 0.5, -0.5)  # bars of few scenes stay slim


def scenes_height(scores: Scores) -> float:
    """Inches that a chart by scene needs."""
    return max(3.4, 1.0 + 0.2 * min(len(by_scene(scores)), _SHOWN_SCENES))


def by_scene(scores: Scores) -> dict[str, float]:
    """Mean AbsRel of each named scene."""
    return {
        printable(scene): float(np.mean([image.metrics["abs_rel"] for image in images]))
        for scene, images in scores.scenes().items()
    }


def draw_epochs(
    ax: "Axes", history: Mapping[str, Sequence[float]], lines: Mapping[str, str], title: str, kept: int
) -> None:
    """Columns of a training history over its epochs, each with its label, and the epoch that was kept."""
    from matplotlib.ticker import MaxNLocator

    for name, label in lines.items():
        ax.plot(history["epoch"], history[name], ".-", label=label)
    ax.axvline(kept, color="0.5", linestyle=":", label=f"kept: epoch {kept}")
    ax.legend(frameon=False)
    ax.set(xlabel="epoch", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
