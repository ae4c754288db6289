"""NYU Depth V2's labelled frames: one MATLAB 7.3 file (HDF5) and its official split."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....cache import Counts, Entry, SpaceClipError
from ...problems import counted, first_few
from ..folder.files import MILLIMETRE, check_bytes
from ..source import CameraFacts, Sample, camera_facts
from .depth import judge, probe
from .layout import Part
from .matlab import read_matlab
from .nyu import FOCAL, LABELLED, NYU, NyuData
from .roots import find_level

if TYPE_CHECKING:
    import h5py

_ARRAYS = {"inpainted": "depths", "raw": "rawDepths"}
SPLITS_SHA256 = "6e081404491a8bfba2f066beaa9713ef6046f9007aa5f799f2a350506a580cee"
"""Of the official split file."""
_SPLITS: dict[Part, str] = {"train": "trainNdxs", "test": "testNdxs"}


class LabelledSource:
    """The `Source` over the labelled file's training or test frames.

    Arrays are stored with their axes reversed: images [N, 3, W, H] uint8, depths [N, W, H] float32 metres.

    Attributes:
        entries: The samples, named `labelled/00045` by their index from 0, in the split file's order.
        path: The labelled file, which stands for a list, and for files that none is missing of.

    Raises:
        SpaceClipError: A file is missing, damaged, or holds other than the official ones do.
    """

    entries: Sequence[Entry]
    listed = problem = None
    files = missing_images = missing_depths = ()

    def __init__(self, settings: NyuData, part: Part) -> None:
        self._settings, self.path, self._depth = settings, settings.labelled_file, _ARRAYS[settings.depth]
        if settings.labelled is None and not self.path.is_file():
            _look_around(settings.root)
        with _opened(self.path) as file:
            count, self._size = _check_arrays(self.path, file, self._depth)
            names = _scene_names(self.path, file, count)
        self._frames = read_split(settings.splits_file, count)[part]
        self._bytes = size = self.path.stat().st_size
        self.entries = [
            Entry(
                f"labelled/{frame:05d}",
                re.sub(r"(?<=[0-9])[A-Za-z]$", "", names[frame]),
                f"{size}#{frame}/{self._depth}",
            )
            for frame in self._frames
        ]
        self.named = self.entries

    @property
    def depth_unit(self) -> float:
        """A millimetre: finer than the sensor's own steps."""
        return MILLIMETRE

    @property
    def depth_counts(self) -> Counts:
        """Enough for 65 m; the sensor sees 10 m."""
        return "uint16"

    def depth_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every sample's depth map."""
        return [self._size] * len(self.entries)

    @property
    def camera(self) -> CameraFacts | None:
        """The Kinect's."""
        return camera_facts([FOCAL] * len(self.entries), self.depth_sizes())

    def load(self, index: int) -> Sample:
        """Decode one sample; from any thread, since each call opens the file anew.

        Raises:
            SpaceClipError: The file is damaged there or replaced, or the depth cannot be right.
        """
        entry, frame = self.entries[index], self._frames[index]
        with _opened(self.path) as file:
            image, depth = _dataset(file, "images")[frame], _dataset(file, self._depth)[frame]
        check_bytes(self.path, self._bytes)
        depth = np.ascontiguousarray(depth.T, dtype=np.float32)
        where = f"{self.path}: {self._depth} of frame {frame}"
        if bad := np.count_nonzero(~np.isfinite(depth) | (depth < 0)):
            raise SpaceClipError(f"{where}: {bad} values are negative, NaN or infinite; expected metres, copy it again")
        if not depth.any():
            raise SpaceClipError(f"{where}: no measured depth, every value is 0; copy it again")
        return Sample(entry.id, np.ascontiguousarray(image.transpose(2, 1, 0)), depth, entry.scene)

    def check(self) -> list[str]:
        """Decode samples spread evenly, and judge their depth.

        Raises:
            SpaceClipError: Some cannot be read, or their depth is implausible.
        """
        maps = probe(self)
        if not self._settings.allow_odd_depth:
            judge(maps, NYU.plausible, str(self.path))
        return []


def read_split(path: Path, count: int) -> dict[Part, list[int]]:
    """The official split of the labelled frames, as indices from 0.

    Args:
        path: A MATLAB 5 file with `trainNdxs` and `testNdxs`, which count from 1.
        count: Frames in the labelled file.

    Raises:
        SpaceClipError: It cannot be read, lacks an array, or an index is out of range, doubled, or in both.
    """
    if not path.is_file():
        raise SpaceClipError(f"the split file {path} does not exist: fetch it, or give its place as split_file")
    content = read_matlab(path, list(_SPLITS.values()), SPLITS_SHA256)
    split: dict[Part, list[int]] = {part: _indices(path, content[name], name, count) for part, name in _SPLITS.items()}
    if shared := sorted(set(split["train"]) & set(split["test"])):
        raise SpaceClipError(
            f"{path}: {counted(len(shared), 'frame')} both in trainNdxs and in testNdxs: "
            f"{first_few([frame + 1 for frame in shared])}; expected each in one of them, copy it again"
        )
    return split


def _indices(path: Path, found: NDArray, name: str, count: int) -> list[int]:
    values = found.ravel()
    if values.dtype.kind not in "iuf" or not values.size or (values != np.rint(values)).any():
        raise SpaceClipError(f"{path}: {name} is {values.dtype.name} of {values.size} values, expected whole numbers")
    wrong = [int(value) for value in values if not 1 <= value <= count]
    if wrong:
        raise SpaceClipError(
            f"{path}: {counted(len(wrong), 'value')} of {name} out of range: {first_few(wrong)}; expected 1 to "
            f"{count}, the frames of the labelled file: do the two files belong together?"
        )
    if doubled := values.size - len(np.unique(values)):
        raise SpaceClipError(f"{path}: {name} names {counted(doubled, 'frame')} more than once; copy it again")
    return [int(value) - 1 for value in values]


def _look_around(root: Path) -> None:
    """Name the level above or below a root that holds the labelled file, if there is one."""
    if level := find_level(root, lambda folder: (folder / LABELLED).is_file()):
        raise SpaceClipError(f"{NYU.title} root {root} holds no {LABELLED}; this level looks right: {level}")


@contextmanager
def _opened(path: Path) -> Iterator["h5py.File"]:
    """Open the labelled file; what goes wrong here or in the `with` block becomes one line."""
    import h5py

    if not path.is_file():
        raise SpaceClipError(f"the labelled file {path} does not exist: fetch it, or give its place as `labelled`")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if not h5py.is_hdf5(path):
            found = f"{path} ({path.stat().st_size:,} bytes) is no HDF5 file: expected MATLAB 7.3's"
        elif "truncated" in str(error):
            found = f"{path} is cut short at {path.stat().st_size:,} bytes"
        else:
            found = f"{path} cannot be read ({_line(error)})"
        raise SpaceClipError(f"{found}; fetch nyu_depth_v2_labeled.mat again") from error


def _check_arrays(path: Path, file: "h5py.File", depth: str) -> tuple[int, tuple[int, int]]:
    """Number of frames and their (height, width)."""
    import h5py

    missing = [name for name in ("images", depth, "scenes") if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        held = ", ".join(name for name in map(str, file) if not name.startswith("#")) or "nothing"
        raise SpaceClipError(
            f"{path} holds no {' and no '.join(missing)} but {held}: expected nyu_depth_v2_labeled.mat as released"
        )
    images, depths, scenes = _dataset(file, "images"), _dataset(file, depth), _dataset(file, "scenes")
    count, width, height = depths.shape if depths.ndim == 3 else (0, 0, 0)
    if not count or images.shape != (count, 3, width, height) or scenes.size != count:
        shapes = ", ".join(f"{name} {list(_dataset(file, name).shape)}" for name in ("images", depth, "scenes"))
        raise SpaceClipError(
            f"{path}: found {shapes}; expected [N, 3, W, H], [N, W, H] and [1, N], axes reversed as MATLAB writes them"
        )
    if images.dtype != np.uint8 or depths.dtype.kind != "f":
        raise SpaceClipError(
            f"{path}: images are {images.dtype.name} and {depth} {depths.dtype.name}, expected uint8 and floats"
        )
    return count, (height, width)


def _scene_names(path: Path, file: "h5py.File", count: int) -> list[str]:
    import h5py

    scenes = _dataset(file, "scenes")
    if scenes.dtype != h5py.ref_dtype:
        raise SpaceClipError(f"{path}: scenes are {scenes.dtype.name}, expected references to {count} names")
    names: list[Any] = [_dataset(file, reference)[()].ravel() for reference in scenes[()].ravel()]
    return ["".join(chr(letter) for letter in letters) for letters in names]


def _dataset(file: "h5py.File", name: Any) -> Any:
    """h5py's types cannot tell an array from a group; `_check_arrays` has."""
    return file[name]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
