"""The part of a page that shows layers beside images and depth."""

from ..panels import DEPTH_COLOURS, DepthScale, shown_depth, shown_image
from ..pictures import coloured, picture_address
from ..probing import VIEWS, FeatureViews
from .page import Picture, PictureRow, PictureTable, Section

_COLUMNS = 112


def views_section(views: FeatureViews, scale: DepthScale) -> Section:
    """A row of pictures for each image.

    Args:
        views: Of some images.
        scale: The colours of depth, those of the page's gallery.
    """
    titles, rows = views.titles, []
    for number, (name, image, truth) in enumerate(zip(views.names, views.images, views.truths, strict=True)):
        depth = coloured(scale(shown_depth(truth, _COLUMNS)), DEPTH_COLOURS)
        addresses = [picture_address(shown) for shown in (shown_image(image, _COLUMNS), depth)]
        # Few pixels, each a patch: to smooth them would make them up.
        addresses += [picture_address(view.colours[number], lossless=True) for view in views.layers]
        pictures = [Picture(at, f"{title} of {name}") for at, title in zip(addresses, titles, strict=True)]
        rows.append(PictureRow(name, "{1} / {0}".format(*truth.shape), pictures))
    text = f"{VIEWS} Depth has the colours of the gallery."
    return Section("What the layers hold", [text], pictures=PictureTable(titles, rows))
