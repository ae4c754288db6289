"""Saved depth maps of any model, found by the ids of the samples that they predict, and their evaluation."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..cache import SpaceClipError, out_of_memory, write_atomically
from .evaluation import Advance, Evaluation, Model, Split, evaluate_models, plan_of
from .facts import SavedMapsFacts
from .protocol import EvaluateSettings, Protocol
from .result_folder import require_free
from .scoring import SAVED, DepthMaps, as_map
from .truths import GroundTruth, read_truths, samples_digest

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
            f"{names[0]}.npy (metres), .depth16.png (of predict), or .png or .tiff (with --depth-scale), {example}: "
            "name maps by the samples' ids, in their folders"
        )


def write_maps(folder: Path, image: DepthMaps) -> None:
    """Write what was predicted of an image as `SavedMaps` reads it, in metres at the decoder's own size.

    Args:
        folder: Gets a folder for each of the predictions: `averaged` and `plain`, or one of them.
        image: The predictions.

    Raises:
        SpaceClipError: The image's id is no name of a file in there.
    """
    for name, depth in image.depths.items():
        place = folder / name
        file = place / f"{image.sample_id}.npy"
        if ".." in file.parts or not file.is_relative_to(place):
            raise SpaceClipError(f"{image.sample_id!r}: no map can have this name in {place}; rename the sample")
        content = io.BytesIO()
        np.save(content, depth.cpu().numpy())
        write_atomically(file, content.getvalue())


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


def evaluate_saved(
    facts: SavedMapsFacts,
    read: Callable[[str], NDArray[np.float32]],
    splits: Mapping[str, Split],
    depth_range: tuple[float, float],
    settings: EvaluateSettings,
    out: Path,
    progress: Advance = lambda _done, _total: None,
    *,
    name: str = "",
    force: bool = False,
) -> Evaluation:
    """Score the saved maps of any model.

    Args:
        facts: What they are.
        read: Gives the map [h, w] of a sample in metres, by the sample's id.
        splits: What can be scored.
        depth_range: Smallest and largest depth in metres where a protocol takes them from the settings.
        settings: How to score; flip averaging is the maps' own matter.
        out: Folder for the numbers (see `write_results`).
        progress: Called with (images done, images in all).
        name: Of the data set.
        force: Replace whatever result the folder holds.

    Raises:
        SpaceClipError: The folder holds another result, a map cannot be read or scored, or no pixel is valid.
    """
    hashes: dict[str, str] = {}

    def saved(truth: Split, protocols: Sequence[Protocol], rows: Sequence[int]) -> Iterator[list[DepthMaps]]:
        truths = read_truths(truth, [protocol.size for protocol in protocols])
        sample_ids, scenes, unusable = truth.sample_ids, truth.scenes, truth.quarantined
        for row in (row for row in rows if row not in unusable):
            sample_id, found = sample_ids[row], truths(row)
            # A frame without ground truth is skipped whatever was predicted for it; its map need not be there.
            known = any(depth.any() for depth in found.values())
            depth = read(sample_id) if known else np.ones((1, 1), np.float32)
            hashes[sample_id] = sha256(depth.tobytes()).hexdigest()
            check_shape(sample_id, depth.shape, [truth.shape for truth in found.values() if known])
            yield [DepthMaps(row, sample_id, scenes[row], {SAVED: as_map(depth)}, found)]

    def maps_hash(split: GroundTruth) -> str:
        return sha256("".join(hashes.get(name, "") for name in split.sample_ids).encode()).hexdigest()

    plan = plan_of(settings, splits, depth_range, saved=True)
    if not force:
        require_free(out, facts, [(samples_digest(splits[split]), protocol) for split, protocol in plan])
    with out_of_memory("end what else holds memory"):
        model, device = Model(facts, None, None, out, iter, maps_hash), torch.device("cpu")
        (found,) = evaluate_models([model], {}, splits, saved, {}, plan, settings, progress, name, device)
    return found
