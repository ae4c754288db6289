"""Views of features: the leading principal components of each layer's patch tokens, as colours of the patches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...cache import Features, SpaceClipError
from ..examples import ranked
from ..scoring import ImageScore

_COMPONENTS = 3
_RANKED = 6
_DARKEST, _BRIGHTEST = 1, 99
"""Percentiles of a component, over all patches shown, that its colour has none and all of."""


@dataclass(frozen=True)
class LayerView:
    """One layer of some images.

    Attributes:
        layer: The hidden state.
        colours: Of the patches of each image, [N, side, side, 3] RGB, uint8.
        shares: Of the variance of the tokens, that of each component, largest first.
    """

    layer: int
    colours: NDArray[np.uint8]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class FeatureViews:
    """Layers of some images beside the images and their depth.

    Attributes:
        names: Ids of the images.
        images: [h, w, 3] RGB each, uint8: what the encoder saw.
        truths: [H, W] metres each, 0 where unknown, at native size.
        layers: In their order.
    """

    names: Sequence[str]
    images: Sequence[NDArray[np.uint8]]
    truths: Sequence[NDArray[np.float32]]
    layers: Sequence[LayerView]

    @classmethod
    def of(cls, features: Features, rows: Sequence[int], layers: Sequence[int]) -> "FeatureViews":
        """Read and colour some images; the components of a layer are those of all their tokens together.

        Args:
            features: With depth.
            rows: The images; none quarantined.
            layers: Hidden states.
        """
        return cls(
            names=[features.sample_ids[row] for row in rows],
            images=[features.image(row) for row in rows],
            truths=[features.ground_truth(row) for row in rows],
            layers=list(_views(features, rows, layers)),
        )

    @property
    def titles(self) -> list[str]:
        """What each column shows."""
        return ["image", "depth", *(f"state {view.layer}, {sum(view.shares):.0%}" for view in self.layers)]


def ranked_views(features: Features, images: Sequence[ImageScore], count: int) -> FeatureViews:
    """Of images that were scored the best, middling and worst, in all layers; `count` or six, if those are fewer."""
    names = [image.sample_id for group in ranked(images, min(count, _RANKED)).values() for image in group]
    rows = {name: row for row, name in enumerate(features.sample_ids)}
    return FeatureViews.of(features, [rows[name] for name in names], features.layers)


def spread_rows(features: Features, count: int) -> list[int]:
    """So many usable rows, or as many as there are, evenly over the split."""
    usable = features.usable
    at = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    return usable[at].tolist()


def named_rows(features: Features, names: Sequence[str]) -> list[int]:
    """The rows of some sample ids.

    Raises:
        SpaceClipError: One is of no usable sample.
    """
    ids = features.sample_ids
    rows = {ids[row]: row for row in features.usable.tolist()}
    if unknown := [name for name in names if name not in rows]:
        raise SpaceClipError(f"{features.path}: has no usable sample {unknown[0]!r}; its ids are such as {ids[0]!r}")
    return [rows[name] for name in names]


def principal_components(tokens: NDArray) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """Three leading principal components of tokens [n, C], in float64.

    Of either direction of a component the one is taken whose largest weight is positive.

    Returns:
        The components of each token, [n, 3], 0 beyond the number of channels; and their shares of the variance.
    """
    centred = tokens.astype(np.float64)
    centred -= centred.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    leading = slice(None, -_COMPONENTS - 1, -1)
    variances, directions = variances[leading], directions[:, leading]
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), range(directions.shape[1])])
    total = max(float(np.square(centred).sum()), np.finfo(np.float64).tiny)
    components = np.zeros((len(tokens), _COMPONENTS))
    components[:, : directions.shape[1]] = centred @ directions
    return components, tuple((variances.clip(0) / total).tolist())


def _views(features: Features, rows: Sequence[int], layers: Sequence[int]) -> Iterator[LayerView]:
    before = None
    for layer in layers:
        tokens = features.states(rows, layers=[layer])[layer]
        images, patches, channels = tokens.shape
        side = math.isqrt(patches)
        components, shares = principal_components(tokens.reshape(-1, channels))
        if before is not None:
            # Either direction is as right: the one like the layer before, of the same patches, keeps colours alike.
            components *= np.where((components * before).sum(0) < 0, -1, 1)
        before = components
        yield LayerView(layer, _colours(components).reshape(images, side, side, _COMPONENTS), shares)


def _colours(components: NDArray[np.float64]) -> NDArray[np.uint8]:
    """[n, 3] RGB; a component that does not vary is grey."""
    low, high = np.percentile(components, (_DARKEST, _BRIGHTEST), axis=0)
    scaled = np.divide(components - low, high - low, out=np.full_like(components, 0.5), where=high > low)
    return (255 * scaled.clip(0, 1)).round().astype(np.uint8)
