"""Depth as a picture: colours, and a scale of metres beside them."""

import math
from functools import cache
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
_SHADES, _GREYS = 240, 15
_INVALID, _BLACK, _WHITE = _SHADES, _SHADES + 1, _SHADES + _GREYS
"""Of the palette of 256: the colours of depth, one for what is not valid, and greys for the scale's letters.

A byte a pixel is encoded five times as fast as three, and takes a third of the room.
"""


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
    """A depth map in colours (of a palette), a pixel for a pixel, with a scale of metres to its right."""
    scale = depth_scale(found)
    return _with_scale(_in_colours(found, scale), scale)


def first_row(height: int) -> int:
    """The row of `coloured_depth` where a map of so many rows begins: low ones have room for the scale around them."""
    return (max(height, _LEAST_HEIGHT) - height) // 2


def side_by_side(found: "DepthMap") -> Image.Image:
    """The image beside its depth, at most 960 pixels high, with a scale."""
    height, width = found.depth.shape
    scale = depth_scale(found)
    pictures = [Image.fromarray(found.image), _in_colours(found, scale).convert("RGB")]
    if height > _SIDE_HEIGHT:
        smaller = (max(1, round(width * _SIDE_HEIGHT / height)), _SIDE_HEIGHT)
        pictures = [picture.resize(smaller, Image.Resampling.LANCZOS) for picture in pictures]
    gap = max(2, pictures[0].height // 100)
    joined = Image.new("RGB", (2 * pictures[0].width + gap, pictures[0].height), "white")
    for number, picture in enumerate(pictures):
        joined.paste(picture, (number * (picture.width + gap), 0))
    return _with_scale(joined, scale)


def _in_colours(found: "DepthMap", scale: DepthScale) -> Image.Image:
    height, width = found.depth.shape
    shades = np.empty((height, width), np.uint8)
    rows_at_once = max(1, _PIXELS_AT_ONCE // width)  # what is computed of whole maps would take most of the memory
    for first in range(0, height, rows_at_once):
        rows = slice(first, first + rows_at_once)
        valid = found.valid[rows]
        shades[rows] = _shades(scale(np.where(valid, found.depth[rows], np.float32(scale.low))))
        shades[rows][~valid] = _INVALID
    return _of_palette(shades)


def _shades(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(shares * (_SHADES - 1)).astype(np.uint8)


def _of_palette(indices: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(indices)
    picture.putpalette(_palette())
    return picture


@cache
def _palette() -> bytes:
    shades = coloured(np.append(np.linspace(0, 1, _SHADES), np.nan)[None], DEPTH_COLOURS)
    greys = np.rint(np.linspace(0, 255, _GREYS)).astype(np.uint8)
    return shades.tobytes() + greys.repeat(3).tobytes()


def _with_scale(picture: Image.Image, scale: DepthScale) -> Image.Image:
    bar = _scale_bar(max(picture.height, _LEAST_HEIGHT), scale)
    if picture.mode != bar.mode:
        bar = bar.convert(picture.mode)
    whole = Image.new(picture.mode, (picture.width + bar.width, bar.height), _WHITE if bar.mode == "P" else "white")
    if bar.mode == "P":
        whole.putpalette(_palette())
    whole.paste(picture, (0, first_row(picture.height)))
    whole.paste(bar, (picture.width, 0))
    return whole


def _scale_bar(height: int, scale: DepthScale) -> Image.Image:
    letter = int(np.clip(height / 30, 11, 60))
    font = ImageFont.load_default(letter)
    labels = [(tick, f"{tick:g} m") for tick in scale.ticks]
    widest = max((font.getlength(text) for _, text in labels), default=0)
    left, right, length = letter // 2, letter // 2 + letter, height - 2 * letter
    drawn = Image.new("L", (int(right + letter // 2 + widest + letter // 2), height), 255)
    draw = ImageDraw.Draw(drawn)
    for tick, text in labels:
        # The farthest on top, as things at a distance are higher in most pictures.
        row = letter + (1 - float(scale(tick))) * (length - 1)
        draw.line((right, row, right + letter // 4, row), fill=0, width=max(1, letter // 12))
        draw.text((right + letter // 2, row), text, fill=0, font=font, anchor="lm")
    indices = _BLACK + np.rint(np.asarray(drawn) / 255 * (_GREYS - 1)).astype(np.uint8)
    indices[letter : letter + length, left:right] = _shades(np.linspace(1, 0, length))[:, None]
    return _of_palette(indices)
