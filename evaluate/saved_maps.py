"""Saved depth maps of any model, found by the ids of the samples that they predict."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cache import SpaceClipError
from .truths import GroundTruth

_KB_CROP = (352, 1216)
_NAMED = 3


class SavedMaps:
    """A folder of depth maps named by sample ids.

    Args:
        folder: Holds a file for every sample, named by its id and one of the suffixes.
        suffixes: Those that `decode` reads.
        decode: Reads a file as a depth map [h, w] in metres.

    Attributes:
        with_zeros: Samples whose maps, of those read so far, hold zeros, which are scored as the smallest depth.

    Raises:
        SpaceClipError: There is no such folder.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str], decode: Callable[[Path], NDArray[np.float32]]) -> None:
        if not folder.is_dir():
            raise SpaceClipError(f"{folder}: no folder is there, expected one of saved depth maps: check --predictions")
        self._folder, self._suffixes, self._decode = folder, suffixes, decode
        self.with_zeros: set[str] = set()

    def __call__(self, sample_id: str) -> NDArray[np.float32]:
        """The map [h, w] of a sample in metres.

        Raises:
            SpaceClipError: It is missing, unreadable, or holds what cannot be a depth.
        """
        file = self._file(sample_id)
        if file is None:
            raise self._missing([sample_id])
        depth = self._decode(file)
        if bad := np.count_nonzero(~np.isfinite(depth) | (depth < 0)):
            raise SpaceClipError(
                f"{file} holds {bad} values that are negative, NaN or infinite: expected a predicted depth in metres "
                "for every pixel; fill or mend them before scoring"
            )
        if not depth.any():
            raise SpaceClipError(f"{file} holds nothing but zeros: expected a predicted depth; predict it again")
        if not depth.all():
            self.with_zeros.add(sample_id)
        return depth

    def check(self, truth: GroundTruth) -> None:
        """Look for the map of every sample that has a ground truth.

        Raises:
            SpaceClipError: Some are missing: all counted, the first few named.
        """
        absent = [(row, name) for row, name in enumerate(truth.sample_ids) if self._file(name) is None]
        if missing := [name for row, name in absent if truth.ground_truth(row).any()]:
            raise self._missing(missing)

    def _file(self, sample_id: str) -> Path | None:
        # Not with_suffix: an id may hold dots.
        files = (self._folder / f"{sample_id}{suffix}" for suffix in self._suffixes)
        return next((file for file in files if file.is_file()), None)

    def _missing(self, names: Sequence[str]) -> SpaceClipError:
        found = next((path for path in sorted(self._folder.rglob("*")) if path.is_file()), None)
        example = f"found {found.relative_to(self._folder)} there" if found else "the folder is empty"
        noun = "sample" if len(names) == 1 else "samples"
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return SpaceClipError(
            f"{self._folder}: no map of {len(names)} {noun}: {', '.join(names[:_NAMED])}{more}; expected "
            f"{names[0]}.npy (metres), .png or .tiff (with --depth-scale), {example}: name maps by the "
            "samples' ids, in their folders"
        )


def check_shape(sample_id: str, shape: tuple[int, ...], truths: Iterable[tuple[int, ...]]) -> None:
    """Refuse a saved map that would be stretched onto pixels it was not predicted for.

    Any other size is resized to the truth's, whole frame to whole frame.

    Raises:
        SpaceClipError: It lies on its side, or covers KITTI's KB crop of a frame whose truth does not.
    """
    for height, width in truths:
        if shape == (width, height) and height != width:
            raise SpaceClipError(
                f"{sample_id}: the saved map is {width} x {height} and its truth {height} x {width}, expected rows "
                "first: transpose the maps"
            )
        if shape == _KB_CROP and (height > _KB_CROP[0] and width > _KB_CROP[1]):
            raise SpaceClipError(
                f"{sample_id}: the saved map is 352 x 1216, KITTI's KB crop, and its truth {height} x {width}: set "
                "data.kb_crop, or save maps of whole frames"
            )
