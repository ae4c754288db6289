"""The evaluation crops of the field: which pixels of a ground truth are scored."""

import difflib

import numpy as np
from numpy.typing import NDArray

from ..cache import SpaceClipError

CROPS = ("none", "garg", "kitti_eigen", "nyu_eigen")

# Rows from, rows to, columns from, columns to, as shares of height and width.
_SHARES = {
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "kitti_eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}
_NYU_SIZE = (480, 640)
_NYU_EIGEN = (45, 471, 41, 601)


def crop_mask(name: str, height: int, width: int) -> NDArray[np.bool_]:
    """Return the bool [H, W] mask of the pixels that the named crop keeps.

    `garg` and `kitti_eigen` scale with the image; `nyu_eigen` is defined on 480 x 640 only; `none` keeps every pixel.

    Raises:
        SpaceClipError: the name is unknown, or the crop is not defined at this size.
    """
    mask = np.zeros((height, width), dtype=bool)
    top, bottom, left, right = crop_bounds(name, height, width)
    mask[top:bottom, left:right] = True
    return mask


def check_crop(name: str) -> str:
    """Return the name of a known crop as it is.

    Raises:
        SpaceClipError: the name is unknown; the message lists the known ones and the nearest.
    """
    if name not in CROPS:
        nearest = difflib.get_close_matches(name, CROPS, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else "choose one of these"
        raise SpaceClipError(f"crop {name!r} is unknown, expected one of {', '.join(CROPS)}: {hint}")
    return name


def crop_bounds(name: str, height: int, width: int) -> tuple[int, int, int, int]:
    """Rows from and to, and columns from and to, that the named crop keeps.

    Raises:
        SpaceClipError: As `crop_mask`.
    """
    check_crop(name)
    if name == "none":
        return 0, height, 0, width
    if name == "nyu_eigen":
        if (height, width) != _NYU_SIZE:
            raise SpaceClipError(
                f"crop nyu_eigen met a ground truth of {height} x {width}, expected 480 x 640: "
                "score at the native NYU size, or choose another crop"
            )
        return _NYU_EIGEN
    top, bottom, left, right = _SHARES[name]
    return int(top * height), int(bottom * height), int(left * width), int(right * width)
