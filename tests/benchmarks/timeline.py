"""A figure of who works when in an extraction."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from spaceclip.extract.engine.receipt import DECODE, ENCODE, WRITE, Span

_COLOURS = {DECODE: "#3b7dd8", ENCODE: "#e07b39", WRITE: "#4a9d5b"}


def draw(spans: Sequence[Span], file: Path, title: str, first: float = 1.0, seconds: float = 2.5) -> None:
    """Draw what each thread, and the device, did for some seconds.

    Args:
        spans: Of an engine with `trace`.
        file: A PNG.
        title: Above it.
        first: Seconds from the first span to the left edge.
        seconds: That are shown.
    """
    rows = sorted({(list(_COLOURS).index(span.stage), _row(span)) for span in spans})
    names = [name for _, name in rows]
    start = min(span.start for span in spans) + first
    figure = Figure(figsize=(6.4, 0.4 + 0.42 * len(names) + 0.6), layout="constrained")
    axes = figure.subplots()
    for at, name in enumerate(names):
        mine = [span for span in spans if _row(span) == name]
        bars = [(span.start - start, span.stop - span.start) for span in mine]
        axes.broken_barh(bars, (at - 0.4, 0.8), color=_COLOURS[mine[0].stage], linewidth=0)
    axes.set(xlim=(0, seconds), ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=11)
    axes.set_xlabel("seconds", fontsize=11)
    axes.set_title(title, fontsize=12)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(file, dpi=110)


def _row(span: Span) -> str:
    return "device" if span.stage == ENCODE else span.thread.replace("-", " ")
