"""Probes as a figure: a metric by layer beside the best prediction without an image, and by pair of layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..charts import png
from ..text import literal_text, printable
from .results import PATCH_METRICS, ProbeResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DRAWN = ("r2", "abs_rel")


@literal_text()
def probe_figure(results: ProbeResults, beside: Sequence[ProbeResults] = ()) -> bytes:
    """Draw R2 and AbsRel by layer and, where pairs were probed, by pair of layers, as a PNG file.

    Args:
        results: What is drawn.
        beside: Single layers of other encoders, of the same patches.
    """
    from matplotlib.figure import Figure

    pairs = bool(results.pairs)
    figure = Figure(figsize=(11, 9.6 if pairs else 4.8), layout="constrained")
    figure.suptitle(printable(results.caption), x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(1 + pairs, 2, squeeze=False, height_ratios=[1, 1.5] if pairs else None)
    for column, metric in enumerate(_DRAWN):
        _draw_layers(axes[0, column], (results, *beside), metric)
        if pairs:
            _draw_pairs(figure, axes[1, column], results, metric)
    names = [printable(f"{each.backbone.label}, {each.storage}") for each in (results, *beside)]
    lines = axes[0, 0].get_lines()[: len(names)]
    figure.legend(lines, names, title="linear probe of", loc="outside lower left", frameon=False, fontsize=8)
    return png(figure)


def _draw_layers(ax: "Axes", drawn: Sequence[ProbeResults], metric: str) -> None:
    for results in drawn:
        layers = [probe.layers[0] for probe in results.singles]
        values = [getattr(probe.metrics, metric) for probe in results.singles]
        ax.plot(layers, values, "o-")
    results = drawn[0]
    name = results.best_baseline(metric)
    value = getattr(results.baselines[name], metric)
    ax.axhline(value, color="0.4", linestyle="--", label=f"best without an image: {name}")
    ax.set(
        xlabel="hidden state",
        ylabel=PATCH_METRICS[metric],
        xticks=sorted({probe.layers[0] for each in drawn for probe in each.singles}),
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(y=0.15)
    ax.legend(frameon=False, fontsize=8)


def _draw_pairs(figure: "Figure", ax: "Axes", results: ProbeResults, metric: str) -> None:
    """A triangle; on its diagonal the layers alone."""
    layers = [probe.layers[0] for probe in results.singles]
    grid = np.full((len(layers), len(layers)), np.nan)
    for probe in results.probes:
        first, last = layers.index(probe.layers[0]), layers.index(probe.layers[-1])
        grid[last, first] = getattr(probe.metrics, metric)
    image = ax.imshow(grid, cmap="viridis" if metric == "r2" else "viridis_r")
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for row, column in zip(*np.nonzero(~np.isnan(grid)), strict=True):
        value = grid[row, column]
        dark = (value < middle) == (metric == "r2")
        text = f"{value:.3f}".removeprefix("0")
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ticks = range(len(layers))
    ax.set(xticks=ticks, yticks=ticks, xticklabels=layers, yticklabels=layers, xlabel="hidden state")
    ax.set(ylabel="and hidden state", title=f"{PATCH_METRICS[metric]}, two layers (diagonal: one)")
    ax.title.set_fontsize(10)
    ax.spines[:].set_visible(False)
    figure.colorbar(image, ax=ax, shrink=0.8)
