"""Depth as a picture: colours, and a scale of metres beside them."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ...evaluate import DEPTH_COLOURS, DepthScale, coloured

if TYPE_CHECKING:
    from .depth_map import DepthMap

_SHARE = (0.01, 0.99)
"""Of the valid pixels, those that the colours span: single ones shall not take the colours of all others."""
_PIXELS_AT_ONCE = 2**20
_LEAST_HEIGHT = 160
_SIDE_HEIGHT = 960
_BACKGROUND, _INK = "white", "black"


def depth_scale(found: "DepthMap") -> DepthScale:
    """The colours of a depth map, equal ratios in equal steps."""
    step = math.isqrt(found.depth.size // _PIXELS_AT_ONCE) + 1
    some = np.s_[::step, ::step]
    low, high = found.colours or colour_span(found.depth[some], found.depth_range)
    return DepthScale(low, high, "log")


def colour_span(depth: NDArray[np.float32], depth_range: tuple[float, float]) -> tuple[float, float]:
    """Depths in metres that span nearly all of some [...] that are within the range of the training."""
    low, high = depth_range
    known = depth[(depth > low) & (depth < high)]
    if known.size:
        low, high = np.quantile(known, _SHARE).tolist()
    return low, max(high, low * 1.05)


def coloured_depth(found: "DepthMap") -> Image.Image:
    """A depth map in colours, a pixel for a pixel, with a scale of metres to its right."""
    scale = depth_scale(found)
    return _with_scale(_in_colours(found, scale), scale)


def first_row(height: int) -> int:
    """The row of `coloured_depth` where a map of so many rows begins: low ones have room for the scale around them."""
    return (max(height, _LEAST_HEIGHT) - height) // 2


def side_by_side(found: "DepthMap") -> Image.Image:
    """The image beside its depth, at most 960 pixels high, with a scale."""
    height, width = found.depth.shape
    scale = depth_scale(found)
    pictures = [Image.fromarray(found.image), _in_colours(found, scale)]
    if height > _SIDE_HEIGHT:
        smaller = (max(1, round(width * _SIDE_HEIGHT / height)), _SIDE_HEIGHT)
        pictures = [picture.resize(smaller, Image.Resampling.LANCZOS) for picture in pictures]
    gap = max(2, pictures[0].height // 100)
    joined = Image.new("RGB", (2 * pictures[0].width + gap, pictures[0].height), _BACKGROUND)
    for number, picture in enumerate(pictures):
        joined.paste(picture, (number * (picture.width + gap), 0))
    return _with_scale(joined, scale)


def _in_colours(found: "DepthMap", scale: DepthScale) -> Image.Image:
    height, width = found.depth.shape
    colours = np.empty((height, width, 3), np.uint8)
    rows_at_once = max(1, _PIXELS_AT_ONCE // width)  # whole maps in float64 would take most of the memory
    for first in range(0, height, rows_at_once):
        rows = slice(first, first + rows_at_once)
        shares = scale(np.where(found.valid[rows], found.depth[rows], np.nan))
        colours[rows] = coloured(shares, DEPTH_COLOURS)
    return Image.fromarray(colours)


def _with_scale(picture: Image.Image, scale: DepthScale) -> Image.Image:
    height = max(picture.height, _LEAST_HEIGHT)
    letter = int(np.clip(height / 30, 11, 60))
    font = ImageFont.load_default(letter)
    labels = [(tick, f"{tick:g} m") for tick in scale.ticks]
    widest = max((font.getlength(text) for _, text in labels), default=0)
    left, bar = picture.width + letter // 2, letter
    whole = Image.new("RGB", (int(left + bar + letter // 2 + widest + letter // 2), height), _BACKGROUND)
    whole.paste(picture, (0, first_row(picture.height)))
    whole.paste(_bar(height - 2 * letter, bar), (left, letter))
    draw = ImageDraw.Draw(whole)
    for tick, text in labels:
        # The farthest on top, as things at a distance are higher in most pictures.
        row = letter + (1 - float(scale(tick))) * (height - 2 * letter - 1)
        draw.line((left + bar, row, left + bar + letter // 4, row), fill=_INK, width=max(1, letter // 12))
        draw.text((left + bar + letter // 2, row), text, fill=_INK, font=font, anchor="lm")
    return whole


def _bar(height: int, width: int) -> Image.Image:
    shares: NDArray[np.float64] = np.linspace(1, 0, height)[:, None].repeat(width, 1)
    return Image.fromarray(coloured(shares, DEPTH_COLOURS))
