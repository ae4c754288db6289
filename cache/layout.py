"""The arrays of a store: Zarr format 3, one chunk for one sample and view, one shard for many samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .spec import StoreSpec

POOLED = "pooled"
IMAGE = "image"
DEPTH = "depth"
GROUND_TRUTH = "ground_truth"
GROUND_TRUTH_SIZE = "ground_truth_size"


@dataclass(frozen=True)
class ArrayLayout:
    """Shape and coding of one array.

    Attributes:
        shape: Full shape, samples first.
        chunk: Shape of what is read at once.
        dtype: NumPy name of the element type.
        compressed: Whether chunks pass through blosc (zstd, shuffled) before their checksum.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    compressed: bool = False

    def shard(self, images: int) -> tuple[int, ...]:
        """Shape of one stored object that holds `images` samples."""
        return (images, *self.shape[1:])


def layer_array(layer: int) -> str:
    """Name of the array that holds a hidden state."""
    return f"layers/{layer}"


def arrays(spec: StoreSpec) -> dict[str, ArrayLayout]:
    """Every array of a store by name (see `identity_arrays`)."""
    return identity_arrays(spec.identity)


def identity_arrays(identity: Mapping[str, Any]) -> dict[str, ArrayLayout]:
    """Every array of the store of an identity by name.

    `layers/<index>` [N, V, P, C] float16 does not compress and is kept plain; `image` [N, H, W, 3] uint8,
    `depth` [N, H, W] and `ground_truth` [N, H, W] (counts of the depth unit, padded, with `ground_truth_size`
    [N, 2]) are compressed.
    """
    n, v = identity["samples"]["count"], len(identity["views"])
    p, c = identity["tokens"]["patches"], identity["tokens"]["channels"]
    height, width = identity["image_size"]
    found = {layer_array(layer): ArrayLayout((n, v, p, c), (1, 1, p, c), "float16") for layer in identity["layers"]}
    found[POOLED] = ArrayLayout((n, v, c), (1, 1, c), "float32")
    found[IMAGE] = ArrayLayout((n, height, width, 3), (1, height, width, 3), "uint8", compressed=True)
    if identity["depth"]:
        size = tuple(identity["depth"]["size"])
        found[DEPTH] = ArrayLayout((n, *size), (1, *size), "uint32", compressed=True)
        if identity["depth"]["native"]:
            size = tuple(identity["depth"]["native"])
            found[GROUND_TRUTH] = ArrayLayout((n, *size), (1, *size), "uint32", compressed=True)
            found[GROUND_TRUTH_SIZE] = ArrayLayout((n, 2), (1, 2), "int32")
    return found
