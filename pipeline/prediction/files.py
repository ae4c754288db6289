"""Depth maps as the content of files."""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...cache import SpaceClipError
from ...extract.sources.folder import SCALE_TEXT
from .point_clouds import glb, ply
from .rendering import coloured_depth, side_by_side

if TYPE_CHECKING:
    from .depth_map import DepthMap

VIDEO = "video"
"""Of a video alone: one of each image beside its depth."""
FILM_SUFFIX, TABLE_SUFFIX = ".side.mp4", ".frames.csv"
"""Of that, and of the table of a video's frames."""
_MILLIMETRES, _KITTI = 1000, 256
_MOST_COUNTS = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: That its files' names end in.
        encode: Makes its content.
        shows_image: Whether it holds the image too.
        shows_points: Whether it holds points, as a camera has them.
        is_coloured: Whether its colours stand for depth.
    """

    suffix: str
    encode: Callable[["DepthMap"], bytes]
    shows_image: bool = False
    shows_points: bool = False
    is_coloured: bool = False


def encoded(found: "DepthMap", kind: str) -> bytes:
    """The content of a file of a kind.

    Raises:
        SpaceClipError: There is no such kind.
    """
    if kind not in FORMATS:
        raise SpaceClipError(f"no format {kind}: choose {', '.join(FORMATS)}")
    return FORMATS[kind].encode(found)


def format_of(path: Path) -> str:
    """The kind that a file's ending asks for: that of `predict`'s own files, else .png is the coloured picture.

    Raises:
        SpaceClipError: None does.
    """
    name = path.name.lower()
    endings = {known.suffix: kind for kind, known in FORMATS.items()} | {".png": "png"}
    if kind := next((kind for ending, kind in endings.items() if name.endswith(ending)), None):
        return kind
    raise SpaceClipError(f"{path}: no format is known by this ending; expected {', '.join(endings)}")


def counts_of_a_metre(farthest: float) -> int:
    """Of a 16-bit png: 1000 (millimetres) where all depths of the training fit, else 256 as KITTI's.

    Args:
        farthest: Of the training, metres: all files of a checkpoint have one unit.
    """
    return _MILLIMETRES if farthest * _MILLIMETRES <= _MOST_COUNTS else _KITTI


def said_of_kinds(kinds: Iterable[str], taught: float, valid: float) -> str:
    """Kinds as a user should know them, a 16-bit png with its unit.

    Args:
        kinds: Of `FORMATS`, and `VIDEO`.
        taught: The farthest depth of the training, metres.
        valid: The farthest that is valid in what was written, metres.
    """
    counts = counts_of_a_metre(taught)
    unit = f"{'millimetres' if counts == _MILLIMETRES else '1/256 m'}{_beyond(counts, valid)}"
    return ", ".join(f"png16 in {unit}" if kind == "png16" else kind for kind in kinds)


def _beyond(counts: int, farthest: float) -> str:
    """What to say where the range is more than 16 bits hold."""
    return f" (0 beyond {_MOST_COUNTS / counts:.3f} m)" if farthest * counts > _MOST_COUNTS else ""


def _npy(found: "DepthMap") -> bytes:
    content = io.BytesIO()
    np.save(content, found.depth)
    return content.getvalue()


def _png16(found: "DepthMap") -> bytes:
    farthest = found.depth_range[1]
    counts = counts_of_a_metre(farthest / found.factor)
    values = np.rint(np.where(found.valid, found.depth, 0).astype(np.float64) * counts)
    picture = Image.fromarray(np.where(values > _MOST_COUNTS, 0, values).astype(np.uint16))
    unit = "millimetre" if counts == _MILLIMETRES else f"1/{counts} metre"
    zero = f"not valid{_beyond(counts, farthest)}"
    return _png(picture, {"Unit": unit, SCALE_TEXT: f"{counts}", "Zero": zero, **found.facts})


def _png(picture: Image.Image, facts: Mapping[str, str]) -> bytes:
    content, texts = io.BytesIO(), PngInfo()
    for name, value in facts.items():
        texts.add_itxt(name, value)
    picture.save(content, "png", pnginfo=texts, compress_level=4)
    return content.getvalue()


FORMATS: dict[str, Format] = {
    "png": Format(".depth.png", lambda found: _png(coloured_depth(found), found.facts), is_coloured=True),
    "npy": Format(".npy", _npy),
    "png16": Format(".depth16.png", _png16),
    "ply": Format(".ply", ply, shows_image=True, shows_points=True),
    "glb": Format(".glb", glb, shows_image=True, shows_points=True),
    "side": Format(
        ".side.png", lambda found: _png(side_by_side(found), found.facts), shows_image=True, is_coloured=True
    ),
}
"""What can be saved, by name."""
