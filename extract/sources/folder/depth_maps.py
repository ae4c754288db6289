"""Reading depth maps, in metres."""

import re
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ....cache import SpaceClipError
from ...preprocess import some_rows
from .raster import DECODING_ERRORS, MAX_PIXELS, check_present, damaged, opened

SCALE_TEXT = "Depth-Scale"
"""Name of the text of a .png that says how many of its values are a metre."""
DEPTH_SUFFIXES = (".png", ".npy", ".tiff", ".tif")
_DEPTH = f"depth map ({' '.join(DEPTH_SUFFIXES)})"
_RASTER_DTYPES = {"I;16": "<u2", "I;16B": ">u2", "I": "=i4", "F": "=f4"}

# NumPy has headers parsed by Python's own parser, which of version 3.11 fails where two threads are in it at once.
_PARSING = Lock()

NEAR_MEDIAN, FAR_MEDIAN = 0.05, 200.0
"""Metres: a depth map whose median lies outside has more likely a wrong unit than such a scene."""


@dataclass(frozen=True)
class DepthHeader:
    """What a depth file says of itself before it is decoded.

    Attributes:
        size: (height, width) in pixels.
        dtype: Type of the stored values, integers (counts) or floats.
    """

    size: tuple[int, int]
    dtype: np.dtype


def read_depth(
    path: Path,
    scale: float | None = None,
    *,
    nan_is_invalid: bool = False,
    allow_far: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.float32]:
    """Read a depth map: 16-bit `.png`, integer or float `.tiff` and `.npy`.

    Args:
        path: The depth file; `.npy` holds [H, W], [H, W, 1] or [1, H, W].
        scale: Stored values of one metre (KITTI 256, millimetres 1000). Integers need it; floats are metres without it.
        nan_is_invalid: Read NaN and infinity as "not measured" where they are otherwise refused.
        allow_far: Accept a median depth beyond `FAR_MEDIAN` or below `NEAR_MEDIAN`.
        max_pixels: Refuse larger ones.

    Returns:
        [H, W] metres, float32, 0 where nothing was measured.

    Raises:
        SpaceClipError: The file is missing, empty or damaged, is no depth map, or its values cannot be right.
    """
    depth = decode_depth(path, scale, max_pixels)
    if nan_is_invalid:
        depth[~np.isfinite(depth)] = 0
    _check_depth(path, depth, allow_far=allow_far)
    return depth


def decode_depth(path: Path, scale: float | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Read the values of a depth file as [H, W] metres, float32, whatever they are.

    Raises:
        SpaceClipError: The file is missing, empty or damaged, is no depth map, or holds integers without a scale.
    """
    if _is_npy(path):
        values = np.array(_map_npy(path))
    else:
        with opened(path, _DEPTH, max_pixels) as picture:
            _raster_dtype(picture, path)
            values = np.array(picture)
    check_scale(path, values.dtype, scale)
    metres = np.empty(values.shape, np.float32)
    with np.errstate(over="ignore"):
        for some in some_rows(values.shape):
            metres[some] = np.divide(values[some], scale or 1.0, dtype=np.float64)
    return metres


def said_scale(path: Path, max_pixels: int = MAX_PIXELS) -> float | None:
    """Stored values of one metre by the text of a depth file, as `predict` writes it; None where it says nothing.

    Raises:
        SpaceClipError: The file is missing, empty or damaged at its start, or says what is no number above 0.
    """
    if path.suffix.lower() != ".png":
        return None
    with opened(path, _DEPTH, max_pixels) as picture:
        said = picture.info.get(SCALE_TEXT)
    if said is None:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", said) and float(said):
        return float(said)
    raise SpaceClipError(f"{path} says {SCALE_TEXT} {said[:20]!r}: expected a number above 0; write it again")


def depth_header(path: Path, max_pixels: int = MAX_PIXELS) -> DepthHeader:
    """Size and value type of a depth file, from its header alone.

    Raises:
        SpaceClipError: The file is missing, empty, damaged at its start, or is no depth map.
    """
    if _is_npy(path):
        values = _map_npy(path)
        height, width = values.shape
        return DepthHeader((height, width), values.dtype)
    with opened(path, _DEPTH, max_pixels) as picture:
        return DepthHeader((picture.height, picture.width), _raster_dtype(picture, path))


def check_scale(path: Path, dtype: np.dtype, scale: float | None) -> None:
    """Refuse integer depth whose unit nobody named.

    Raises:
        SpaceClipError: The values are integers and `scale` is None.
    """
    if scale is None and dtype.kind != "f":
        raise SpaceClipError(
            f"{path} holds integer depth ({dtype.name}) and no scale is set: "
            "pass --depth-scale, the counts of one metre (1000 for millimetres, 256 for KITTI)"
        )


def _is_npy(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def _map_npy(path: Path) -> NDArray:
    """Map a `.npy` file as [H, W] without reading its values; pickled objects are never loaded."""
    check_present(path)
    try:
        with _PARSING:
            values = np.lib.format.open_memmap(path, mode="r")
    except DECODING_ERRORS as error:
        raise damaged(path, error) from error
    if values.dtype.kind not in "fiu" or values.dtype.itemsize < 2:
        raise SpaceClipError(
            f"{path} holds {values.dtype.name} values: expected floats, or integers of 16 bits or more"
        )
    shape = values.shape
    if values.ndim == 3 and 1 in (shape[0], shape[2]):
        values = values[0] if shape[0] == 1 else values[..., 0]
    if values.ndim != 2:
        raise SpaceClipError(f"{path} has shape {list(shape)}: expected one depth map, [H, W], [H, W, 1] or [1, H, W]")
    return values


def _raster_dtype(picture: Image.Image, path: Path) -> np.dtype:
    if picture.mode not in _RASTER_DTYPES:
        bits = "an 8-bit image" if picture.mode in {"1", "L", "P"} else "a colour image"
        raise SpaceClipError(
            f"{path} is {bits} (mode {picture.mode}), which cannot hold depth in metres: "
            "expected one channel of 16-bit integers or of floats"
        )
    return np.dtype(_RASTER_DTYPES[picture.mode])


def _check_depth(path: Path, depth: NDArray[np.float32], *, allow_far: bool) -> None:
    unmeasured = "expected metres, and 0 where nothing was measured"
    if bad := np.count_nonzero(~np.isfinite(depth)):
        raise SpaceClipError(
            f"{path} holds {bad} NaN or infinite values: {unmeasured}; --nan-is-invalid reads them as 0"
        )
    if bad := np.count_nonzero(depth < 0):
        raise SpaceClipError(f"{path} holds {bad} negative values (down to {depth.min():g}): {unmeasured}")
    valid = depth[depth > 0]
    if not valid.size:
        raise SpaceClipError(f"{path} holds no measured depth, every value is 0: replace it or leave the sample out")
    if not allow_far and not NEAR_MEDIAN <= (median := np.median(valid)) <= FAR_MEDIAN:
        found = f"{median:.0f}" if median > 1 else f"{median:.2g}"
        raise SpaceClipError(
            f"{path}: median depth {found} m: is the unit right? "
            "with millimetres pass --depth-scale 1000; if these are metres pass --allow-far"
        )
