"""Charts: where the error lies, how the training went, and what arms of a study differ by."""

import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .breakdown import Breakdown
from .text import literal_text, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_SCENES = 20


@literal_text()
def chart(draw: Callable[["Axes"], None], height: float = 3.4) -> str:
    """One chart without a background, as an address that holds it; the same drawing gives the same text."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, height), layout="constrained")
    ax = figure.subplots()
    draw(ax)
    ax.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "spaceclip"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{b64encode(buffer.getvalue()).decode()}"


def png(figure: "Figure", *, dpi: int = 150) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def colours(count: int) -> list[tuple[float, ...]]:
    """That many colours that are told apart on white and, inverted, on black."""
    from matplotlib import colormaps

    return [colormaps["tab10" if count <= 10 else "tab20"](number % 20) for number in range(count)]


def legend(ax: "Axes", count: int, *, room: float = 0.0) -> None:
    """Of what is labelled: inside where there is little of it, else below.

    Args:
        ax: Where.
        count: How many entries.
        room: Share of the height to add above what is drawn, for a legend inside.
    """
    if count > 4:
        columns = 4 if all(len(text) < 20 for text in ax.get_legend_handles_labels()[1]) else 2
        ax.figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=columns)
        return
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + room * (high - low))
    ax.legend(frameon=False, fontsize=9)


def draw_by_depth(ax: "Axes", found: Breakdown, baseline: Breakdown | None, data: str) -> None:
    """AbsRel by true depth, over the pixels of all images together."""
    edges, heights = _shown_edges(found), _values(found.by_depth)
    bars = ax.bar(edges[:-1], heights, np.diff(edges), align="edge", color="C0", edgecolor="white")
    _depth_axes(ax, [found], data)
    if whole := sum(found.depth_pixels):
        shares = [count / whole for count in found.depth_pixels]
        texts = ["" if not share else "<1%" if share < 0.005 else f"{share:.0%}" for share in shares]
        ax.bar_label(bars, texts, fontsize=7)
        ax.set_title("Error by depth, with the share of pixels")
    if baseline:
        others = _values(baseline.by_depth)
        # Room above the bars for the legend.
        ax.set_ylim(0, 1.3 * np.nanmax([heights, others]))
        line = ax.stairs(others, edges, color="C1", linewidth=1.8)
        ax.legend((bars, line), ("prediction", "best without an image"), frameon=False, loc="upper left")


def draw_depths(ax: "Axes", arms: Mapping[str, Breakdown], data: str) -> None:
    """AbsRel by true depth of several predictions, a line each."""
    for colour, (name, found) in zip(colours(len(arms)), arms.items(), strict=True):
        ax.stairs(_values(found.by_depth), _shown_edges(found), baseline=None, label=_wrapped(name), color=colour)
    _depth_axes(ax, list(arms.values()), data)
    ax.set_ylim(bottom=0)
    legend(ax, len(arms), room=0.08 * len(arms))


def _shown_edges(found: Breakdown) -> NDArray[np.float64]:
    """Of the bins by depth; the nearest, which begins at nearly nothing, is drawn no wider than an octave."""
    first, second, *others = found.depth_edges
    return np.array([max(first, second / 2), second, *others])


def _depth_axes(ax: "Axes", shown: Sequence[Breakdown], data: str) -> None:
    """Equal ratios of depth in equal steps, from the nearest bin with pixels to the farthest."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set(xlabel=f"{data}: true depth (m)", ylabel="AbsRel over the pixels of a bin", title="Error by depth")
    ax.set_xscale("log")
    ends = []
    for one in shown:
        edges, known = _shown_edges(one), np.flatnonzero(~np.isnan(_values(one.by_depth)))
        ends += [edges[known[0]], edges[known[-1] + 1]]
    ax.set_xlim(min(ends), max(ends))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def draw_by_scene(ax: "Axes", found: Breakdown, baseline: Breakdown | None) -> None:
    """AbsRel by scene, the mean over its images, worst scene first."""
    scenes = found.by_scene
    shown = sorted(scenes, key=lambda scene: -scenes[scene])[:SHOWN_SCENES]
    names = list(map(printable, shown))
    left_out = f", worst {len(shown)} of {len(scenes)}" if len(shown) < len(scenes) else ""
    ax.barh(names, [scenes[scene] for scene in shown], color="C0")
    if baseline:
        marks = [baseline.by_scene[scene] for scene in shown]
        ax.plot(marks, names, "|", color="C1", markersize=11, markeredgewidth=2)
    ax.set(xlabel="AbsRel, mean over images", title=f"Error by scene{left_out}")
    ax.tick_params(axis="y", labelsize=8)
    ax.set_ylim(max(len(shown), 6) - 0.5, -0.5)  # bars of few scenes stay slim


def scenes_height(found: Breakdown) -> float:
    """Inches that a chart by scene needs."""
    return max(3.4, 1.0 + 0.2 * min(len(found.by_scene), SHOWN_SCENES))


def draw_by_place(
    ax: "Axes", found: Breakdown, title: str = "Error by place in the frame", highest: float | None = None
) -> None:
    """AbsRel by place in the frame, of all images together: a grid with its numbers.

    Args:
        ax: Where.
        found: Of the images.
        title: What it is of.
        highest: AbsRel of the last colour; by default its own highest.
    """
    grid = np.array([_values(row) for row in found.by_place or ()])
    top = highest or float(np.nanmax(grid))
    # Light is right: where a page turns the colours of a chart over, for the dark, that is dark.
    ax.imshow(grid, cmap="Oranges", vmin=0, vmax=top, aspect=0.75 * grid.shape[1] / grid.shape[0])
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            colour = "white" if value > 0.7 * top else "black"
            ax.text(column, row, f"{value:.2f}".removeprefix("0"), ha="center", va="center", fontsize=7, color=colour)
    ax.set(xticks=[], yticks=[], title=_wrapped(title, 50))
    ax.spines[:].set_visible(False)


def draw_epochs(
    ax: "Axes", history: Mapping[str, Sequence[float]], lines: Mapping[str, str], title: str, kept: int
) -> None:
    """Columns of a training history over its epochs, each with its label, and the epoch that was kept."""
    for name, label in lines.items():
        ax.plot(history["epoch"], history[name], ".-", label=label)
    ax.axvline(kept, color="0.5", linestyle=":", label=f"kept: epoch {kept}")
    _epochs(ax, title)
    ax.legend(frameon=False)


def draw_runs(ax: "Axes", arms: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]], title: str) -> None:
    """A number over the epochs, (epochs, values) of each run; a colour for each arm."""
    for colour, (name, runs) in zip(colours(len(arms)), arms.items(), strict=True):
        for number, (epochs, values) in enumerate(runs):
            label = None if number else _wrapped(name)
            line = "-" if len(epochs) > 1 else "."
            ax.plot(epochs, values, line, color=colour, linewidth=1.1, markersize=9, alpha=0.85, label=label)
    _epochs(ax, title)
    legend(ax, len(arms))


def draw_seeds(
    ax: "Axes", arms: Mapping[str, Sequence[float]], label: str, *, zero: str = "", beside: float | None = None
) -> None:
    """Every seed a point, a row for each arm; beside them the mean with the sample deviation.

    Args:
        ax: Where.
        arms: Values of the seeds by arm, the first on top.
        label: What the values are.
        zero: Where they are differences: what lies at 0, which is then marked.
        beside: What the best prediction without an image has; a line, unless it lies so far off that the rest is small.
    """
    if zero:
        ax.axvline(0, color="0.5", linewidth=1, linestyle="--")
        label = f"{label}\n(left of 0: lower than {zero})"
    # Of the colours that curves have, of which the arm at 0 has the first.
    shades = colours(len(arms) + bool(zero))[bool(zero) :]
    for row, (values, colour) in enumerate(zip(arms.values(), shades, strict=True)):
        if values:
            deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            ax.errorbar(np.mean(values), row + 0.18, xerr=deviation, fmt="|", color=colour, capsize=3, markersize=9)
            ax.plot(values, [row - 0.12] * len(values), "o", color=colour, markersize=5, alpha=0.75)
    names = [_wrapped(name if values else f"{name} (no run)") for name, values in arms.items()]
    ax.set_yticks(range(len(arms)), names, fontsize=9 if all(len(name) < 40 for name in names) else 7)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    if beside is not None:
        low, high = ax.get_xlim()
        near = low - (high - low) < beside < high + (high - low)
        if near:
            ax.axvline(beside, color="0.3", linestyle="--", linewidth=1.2)
        place = "dashed" if near else f"off to the {'left' if beside < low else 'right'}"
        label = f"{label}\n(best without an image {beside:.4f}, {place})"
    ax.set_xlabel("\n".join(_wrapped(line, 58) for line in label.split("\n")))
    ax.locator_params(axis="x", nbins=6)
    ax.grid(axis="x", alpha=0.25)


def seeds_height(arms: int) -> float:
    """Inches that a chart of seeds needs."""
    return 1.1 + 0.36 * max(arms, 2)


def _epochs(ax: "Axes", title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="epoch", title=title)
    low, high = ax.get_xlim()
    if high - low < 1:  # one epoch: a range without a whole number has ticks between them
        ax.set_xlim(round((low + high) / 2) - 0.5, round((low + high) / 2) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _wrapped(name: str, width: int = 26) -> str:
    """Text in lines that are not cut off: names of a grid's arms have commas and no spaces."""
    return fill(printable(name).replace(",", ", ").replace(",  ", ", "), width)


def _values(found: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in found])
