"""Views of features as a figure: a row for each image, a column for each layer."""

import textwrap
from typing import TYPE_CHECKING

from ..charts import png
from ..panels import DEPTH_COLOURS, DepthScale, shown_depth
from ..pictures import coloured
from ..text import literal_text, printable
from .views import FeatureViews

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIEWS = (
    "The patch tokens of each hidden state (state 0: before the first block): their three leading principal components "
    "as red, green and blue. One basis a state, fitted to all tokens shown, so that a colour means the same in all "
    "images of a column; other columns have other bases. Percentages: the share of the tokens' variance that is shown. "
    "What stands out need not be what a decoder reads."
)
"""What must be known to read them."""

_CELL, _NARROWEST = 1.15, 7.0  # inches
_LETTERS = 14.5  # of an inch of the caption


@literal_text()
def views_figure(views: FeatureViews, caption: str) -> bytes:
    """Draw images, their depth and their layers, as a PNG file.

    Args:
        views: At least one image.
        caption: Of what.
    """
    from matplotlib.figure import Figure

    titles, width = views.titles, max(_CELL * (2 + len(views.layers)), _NARROWEST)
    lines = [*caption.splitlines(), *textwrap.wrap(VIEWS, round(_LETTERS * width))]
    # The stored image is the encoder's square input; depth has the proportions of the frame.
    shares = [truth.shape[0] / truth.shape[1] for truth in views.truths]
    figure = Figure(figsize=(width, sum(_CELL * share + 0.25 for share in shares) + 0.16 * len(lines) + 1.2))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure.suptitle(printable("\n".join([*lines, ""])), x=0.01, ha="left", fontsize=8)
    axes = figure.subplots(len(shares), len(titles), squeeze=False, height_ratios=shares)
    scale = DepthScale.of(views.truths, "log")
    for row, (name, image, truth, share) in enumerate(
        zip(views.names, views.images, views.truths, shares, strict=True)
    ):
        depth = coloured(scale(shown_depth(truth)), DEPTH_COLOURS)
        cells = [image, depth, *(view.colours[row] for view in views.layers)]
        for ax, title, cell in zip(axes[row], titles, cells, strict=True):
            ax.imshow(cell, aspect=share * cell.shape[1] / cell.shape[0], interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if row == 0:
                ax.set_title(title.replace(", ", "\n"), fontsize=8)
        axes[row, 0].set_xlabel(printable(name), fontsize=7, loc="left")
    _scale(figure, scale)
    return png(figure)


def _scale(figure: "Figure", scale: DepthScale) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    drawn = ScalarMappable(Normalize(0, 1), DEPTH_COLOURS)
    bar = figure.colorbar(drawn, ax=figure.axes, location="bottom", aspect=60, shrink=0.5, anchor=(0, 1), fraction=0.02)
    bar.set_ticks([float(scale(tick)) for tick in scale.ticks], labels=[f"{tick:g}" for tick in scale.ticks])
    bar.set_label("depth (m); grey: not known", fontsize=8)
    bar.ax.tick_params(labelsize=7)
