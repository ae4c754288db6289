"""Probing layers: one pass over the train split, a solution in closed form, one pass over the held-out split."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...cache import Features, Look, SpaceClipError, note_looks
from ..baselines import image_free_depths
from ..facts import BackboneFacts
from .moments import Moments
from .patches import PatchTokens, first_token
from .results import PatchErrors, PatchMetrics, Probe, ProbedSplit, ProbeResults
from .ridge import STRENGTHS, choose_strength, ridge_fits

Progress = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a report of one stage, by its label and unit; what it gives is called with (done, total)."""

_FOLDS = 2


def probe_layers(
    training: Features,
    held_out: Features,
    layers: Sequence[int] | None = None,
    *,
    split: str = "val",
    name: str = "",
    pairs: bool = False,
    strengths: Sequence[float] = STRENGTHS,
    depth_range: tuple[float, float] = (0.001, 80.0),
    beside: Sequence[ProbeResults] = (),
    by: str = "",
    progress: Progress = lambda _label, _unit: nullcontext(lambda _done, _total: None),
) -> ProbeResults:
    """Fit a linear map of patch tokens to the log of their patch's mean depth, for each layer, and score it.

    The maps are ridge regressions with an intercept, of channels brought to mean 0 and deviation 1, in closed form and
    in float64. A patch counts where at least half of its pixels have a depth within the range.

    Args:
        training: What is fitted.
        held_out: What is scored, of other scenes.
        layers: Hidden states; all by default.
        split: What the held-out features are called; with `test` a look at them is noted beside their stores.
        name: What the features are called.
        pairs: Fit each two layers together too.
        strengths: Of the ridge (see `ridge_fits`); of several the one that errs least where each half of the train
            scenes is predicted from the other.
        depth_range: Depths that count lie strictly within, metres.
        beside: Finished probes that these must be of the same patches as.
        by: Folder of the result, which the note names.
        progress: Shows how far the stages are.

    Raises:
        SpaceClipError: The features lack depth or a layer; there is but one scene to choose a strength by, or not one
            patch with a depth; a strength is not positive; the probes beside are of other patches (said before the
            work begins, where the number of images or the range tell).
    """
    layers = sorted(set(training.layers if layers is None else layers))
    if wrong := [strength for strength in strengths if not 0 < strength < np.inf]:
        raise SpaceClipError(f"ridge {wrong[0]:g}: expected a strength above 0, such as {STRENGTHS[2]:g}")
    if not 0 < depth_range[0] < depth_range[1] < np.inf:
        raise SpaceClipError("the depth range is {:g} to {:g} m, expected 0 < least < most".format(*depth_range))
    for features in (training, held_out):
        features.require(layers, depth=True)
        if not features.usable.size:
            raise SpaceClipError(f"{features.path}: all its {len(features)} samples are quarantined; extract others")
    counts = [(len(features.usable), len(set(_scenes(features)))) for features in (training, held_out)]
    for other in beside:
        theirs = [(part.images, part.scenes) for part in (other.training, other.held_out)]
        if (counts, depth_range, split) != (theirs, other.depth_range, other.held_out.split):
            raise other.of_other_patches(name)
    folds = _scene_folds(training) if len(strengths) > 1 else [training.usable]
    shift = first_token(training, layers)
    tokens = PatchTokens(training, layers, depth_range, shift)
    targets = _PatchTargets(tokens.grid.side, len(training))
    with progress("accumulate", "images") as report:
        moments = _accumulate(tokens, folds, layers, targets, report, pairs=pairs)
    fitted_patches = sum(part.patches for part in moments)
    if not all(part.patches for part in moments):
        low, high = depth_range
        raise SpaceClipError(
            f"{training.path}: no patch of {'half of the scenes' if any(p.patches for p in moments) else 'any image'} "
            f"has half of its pixels within {low:g} to {high:g} m; mend the range, or extract with more depth"
        )
    subsets = [*((layer,) for layer in layers), *(combinations(layers, 2) if pairs else ())]
    with progress("solve", "probes") as report:
        solved = _solve(moments, subsets, strengths, report)
    baselines = image_free_depths(targets, *depth_range, rows=training.usable.tolist())
    with progress("score", "images") as report:
        errors, image_free = _score(
            PatchTokens(held_out, layers, depth_range, shift), held_out.usable, solved, baselines, depth_range, report
        )
    results = ProbeResults(
        data=str(held_out.about.get("data")),
        name=name,
        backbone=BackboneFacts.of(training.identity["backbone"]),
        storage=training.storage,
        depth_range=depth_range,
        ridges=tuple(strengths),
        training=_split(training, "train", fitted_patches),
        held_out=_split(held_out, split, errors.patches),
        probes=tuple(
            Probe(layers=subset, ridge=strength, metrics=metrics)
            for (subset, (strength, _)), metrics in zip(solved.items(), errors.metrics(), strict=True)
        ),
        baselines=image_free,
    )
    for other in beside:
        results.require_same_patches(other)
    return _with_looks(results, subsets, held_out, by) if split == "test" else results


class _PatchTargets:
    """Mean depths of patches as targets [side, side] of predictions without an image."""

    def __init__(self, side: int, images: int) -> None:
        self.depth_size = (side, side)
        self.depths = np.zeros((images, side * side), np.float32)

    def __len__(self) -> int:
        return len(self.depths)

    def depth(self, index: int) -> NDArray[np.float32]:
        return self.depths[index].reshape(self.depth_size)


def _scenes(features: Features) -> list[str]:
    """Of the usable rows; a sample without one is its own."""
    pairs = zip(features.scenes, features.sample_ids, strict=True)
    names = [scene or sample for scene, sample in pairs]
    return [names[row] for row in features.usable]


def _scene_folds(features: Features) -> list[NDArray[np.int64]]:
    """The usable rows, by whether their scene is an odd or even one in the order of names.

    Raises:
        SpaceClipError: There is one scene only.
    """
    _, numbers = np.unique(_scenes(features), return_inverse=True)
    if numbers.max(initial=0) < _FOLDS - 1:
        raise SpaceClipError(
            f"{features.path}: a ridge strength is chosen by scenes held out of the train split, which has one scene "
            "only; give one strength (--ridge 1e-3), or extract more scenes"
        )
    return [features.usable[numbers % _FOLDS == fold] for fold in range(_FOLDS)]


def _split(features: Features, name: str, patches: int) -> ProbedSplit:
    stores = tuple(store.digest for store in features.stores)
    return ProbedSplit(
        split=name,
        stores=stores,
        images=len(features.usable),
        quarantined=len(features.quarantined),
        scenes=len(set(_scenes(features))),
        patches=patches,
        by_sample=any(store.about.get("split_by") == "ratio" for store in features.stores),
    )


def _with_looks(results: ProbeResults, subsets: Sequence[tuple[int, ...]], held_out: Features, by: str) -> ProbeResults:
    """Note a look at the test split before anybody can see a number, and say how many there were."""
    fitted = json.dumps([results.training.stores, subsets, results.ridges])
    low, high = results.depth_range
    look = Look(
        "probes", hashlib.sha256(fitted.encode()).hexdigest(), f"mean depth of patches, {low:g} to {high:g} m", by
    )
    looks = note_looks([look], *(store.path for store in held_out.stores))
    return results.model_copy(update={"held_out": results.held_out.model_copy(update={"looks": looks})})


def _accumulate(
    tokens: PatchTokens,
    folds: Sequence[NDArray[np.int64]],
    layers: Sequence[int],
    targets: _PatchTargets,
    report: Callable[[int, int], None],
    *,
    pairs: bool,
) -> list[Moments]:
    """The moments of each fold; the targets are filled in on the way."""
    total, done, found = sum(map(len, folds)), 0, list[Moments]()
    report(0, total)
    for rows in folds:
        part = Moments(layers, tokens.channels, pairs=pairs)
        for block in tokens.read(rows):
            part.add(block.design)
            targets.depths[block.rows] = block.depth
            done += len(block.rows)
            report(done, total)
        found.append(part)
    return found


def _solve(
    folds: Sequence[Moments],
    subsets: Sequence[tuple[int, ...]],
    strengths: Sequence[float],
    report: Callable[[int, int], None],
) -> dict[tuple[int, ...], tuple[float, NDArray[np.float64]]]:
    """For each set of layers the strength chosen, and the map fitted with it to all folds."""
    solved = {}
    report(0, len(subsets))
    for subset in subsets:
        parts = [fold.of(subset) for fold in folds]
        strength = choose_strength(parts, strengths)
        (fitted,) = ridge_fits(np.add.reduce(parts), [strength])
        solved[subset] = strength, fitted
        report(len(solved), len(subsets))
    return solved


def _score(
    tokens: PatchTokens,
    rows: NDArray[np.int64],
    solved: Mapping[tuple[int, ...], tuple[float, NDArray[np.float64]]],
    baselines: Mapping[str, NDArray[np.float32]],
    depth_range: tuple[float, float],
    report: Callable[[int, int], None],
) -> tuple[PatchErrors, dict[str, PatchMetrics]]:
    """The errors of all maps, and the metrics of predictions without an image, on the same patches."""
    weights = _weights_by_layer(solved, tokens.channels)
    side, done = tokens.grid.side, 0
    maps = np.stack([np.log(np.broadcast_to(depth, (side, side)).ravel()) for depth in baselines.values()], axis=1)
    errors, image_free = PatchErrors(len(solved), depth_range), PatchErrors(len(baselines), depth_range)
    report(0, len(rows))
    for block in tokens.read(rows):
        parts = [block.design[layer][:, :-1] @ matrix for layer, matrix in weights.items()]
        errors.add(np.add.reduce(parts), block.log_depth)
        image_free.add(maps[np.nonzero(block.depth)[1]], block.log_depth)
        done += len(block.rows)
        report(done, len(rows))
    return errors, dict(zip(baselines, image_free.metrics(), strict=True))


def _weights_by_layer(
    solved: Mapping[tuple[int, ...], tuple[float, NDArray[np.float64]]], channels: int
) -> dict[int, NDArray[np.float64]]:
    """For each layer the weights [C + 1, M] of its channels, and of 1, in all M maps: one product predicts with all."""
    layers = sorted({layer for subset in solved for layer in subset})
    weights = {layer: np.zeros((channels + 1, len(solved))) for layer in layers}
    for number, (subset, (_, fitted)) in enumerate(solved.items()):
        for at, layer in enumerate(subset):
            own = fitted[at * channels : (at + 1) * channels + (at + 1 == len(subset))]
            weights[layer][: len(own), number] = own
    return weights
