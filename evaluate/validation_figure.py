"""The same few validation images after each epoch: what they are, what is true, what was predicted, how wrong."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..cache import Features
from .charts import png
from .examples import Example
from .panels import DEPTH_COLOURS, ERROR_COLOURS, HIGHEST_ERROR, DepthScale, panels
from .pictures import coloured
from .protocol import Protocol
from .scoring import Scorer, to_size
from .text import literal_text, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI, _WIDTH, _GAP, _LABEL, _FOOT = 100, 300, 6, 22, 56
"""Pixels: of a panel's width, between panels, above a row, and below the last for the colours."""


def shown_rows(cache: Features, count: int) -> list[int]:
    """The rows of a split that are drawn, always the same, spread over those that can be used."""
    usable = cache.usable
    return usable[np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)].tolist()


def validation_figure(cache: Features, depths: Mapping[int, Tensor], protocol: Protocol, caption: str) -> bytes | None:
    """Draw predictions beside image, truth and error as a PNG file; None where no image has a pixel that is scored.

    All truths and predictions share one scale in metres.

    Args:
        cache: The validation split.
        depths: Predictions [h, w] in metres, of any size, by row.
        protocol: How they are scored.
        caption: What they are of, in one or more lines.
    """
    ids, scorer, maps = cache.sample_ids, Scorer(protocol, regions=False), {}
    for row, depth in depths.items():
        truth = cache.ground_truth(row)
        prediction = to_size(depth, (truth.shape[0], truth.shape[1]))
        scorer.add(ids[row], None, prediction, truth)
        maps[ids[row]] = cache.image(row), prediction, truth
    if len(scorer.skipped) == len(maps):
        return None
    examples = [Example(score, *maps[score.sample_id]) for score in scorer.scores().images]
    return _figure(examples, protocol, str(cache.about.get("data")), caption)


@literal_text()
def _figure(examples: Sequence[Example], protocol: Protocol, data: str, caption: str) -> bytes:
    """A grid of pixels, and text beside it: laying out axes would take ten times as long, every epoch."""
    from matplotlib.figure import Figure

    scale = DepthScale.of((example.ground_truth for example in examples), "log")
    strips = [_strip(example, protocol, scale) for example in examples]
    width = strips[0].shape[1]
    above = 16 * len(caption.splitlines()) + _LABEL
    height = sum(len(strip) + _LABEL for strip in strips) + above + _FOOT
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)

    def write(x: float, top: float, text: str, **options: Any) -> None:
        figure.text(x / width, 1 - top / height, printable(text), va="top", fontsize=8, **options)

    write(_GAP, 4, caption)
    for column, title in enumerate(("Image", "Ground truth", "Prediction", "Relative error")):
        write((column + 0.5) * (_WIDTH + _GAP), above - 18, title, ha="center")
    top = above
    for example, strip in zip(examples, strips, strict=True):
        write(_GAP, top + 4, f"{example.score.sample_id}    AbsRel {example.score.metrics['abs_rel']:.4f}",
              fontweight="bold")  # fmt: skip
        top += _LABEL + len(strip)
        figure.figimage(strip, 0, height - top, origin="upper")
    _colours(figure, scale, f"{data}: depth (m)", height)
    return png(figure, dpi=_DPI)


def _strip(example: Example, protocol: Protocol, scale: DepthScale) -> NDArray[np.uint8]:
    """The four panels of an image beside each other, [h, w, 3]."""
    shown = panels(example, protocol)
    maps = (
        shown.image,
        coloured(scale(shown.truth), DEPTH_COLOURS),
        coloured(scale(shown.prediction), DEPTH_COLOURS),
        coloured(shown.error / HIGHEST_ERROR, ERROR_COLOURS),
    )
    height = round(_WIDTH * example.ground_truth.shape[0] / example.ground_truth.shape[1])
    strip = np.full((height, len(maps) * (_WIDTH + _GAP), 3), 255, np.uint8)
    for column, values in enumerate(maps):
        down, across = (np.arange(to) * have // to for to, have in zip((height, _WIDTH), values.shape, strict=False))
        left = column * (_WIDTH + _GAP) + _GAP // 2
        strip[:, left : left + _WIDTH] = values[down[:, None], across]
    return strip


def _colours(figure: "Figure", scale: DepthScale, label: str, height: int) -> None:
    """What the colours mean, below the columns that have them."""
    from matplotlib.cm import ScalarMappable

    bars = ((0.27, 0.46, DEPTH_COLOURS, 1.0, label), (0.77, 0.21, ERROR_COLOURS, HIGHEST_ERROR, "|error| / truth"))
    for left, width, colours, highest, name in bars:
        ax = figure.add_axes((left, 36 / height, width, 12 / height))
        bar = figure.colorbar(ScalarMappable(cmap=colours), cax=ax, orientation="horizontal")
        ticks = scale.ticks if colours == DEPTH_COLOURS else [0.0, 0.25, 0.5]
        at = [float(scale(tick)) if colours == DEPTH_COLOURS else tick / highest for tick in ticks]
        bar.set_ticks(at, labels=[f"{tick:g}" for tick in ticks], fontsize=7)
        bar.set_label(printable(name), fontsize=7, labelpad=1)
