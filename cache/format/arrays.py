"""The arrays of a store: Zarr format 3, one chunk for one sample and view, one object for one view of many samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .identity import StoreSpec

POOLED = "pooled"
IMAGE = "image"
DEPTH = "depth"
GROUND_TRUTH = "ground_truth"
GROUND_TRUTH_SIZE = "ground_truth_size"


@dataclass(frozen=True)
class ArrayLayout:
    """Shape and coding of one array.

    Attributes:
        shape: Full shape, samples first; views second where `by_view`.
        chunk: Shape of what is read at once.
        dtype: NumPy name of the element type.
        compressed: Whether chunks pass through blosc (zstd, shuffled) before their checksum.
        by_view: Whether each view has objects of its own, so that a view can be added and read without the others.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    compressed: bool = False
    by_view: bool = False

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one chunk without its leading axes: a sample, of one view where views divide the array."""
        return self.chunk[2:] if self.by_view else self.chunk[1:]

    def shard(self, images: int) -> tuple[int, ...]:
        """Shape of one stored object that holds `images` samples."""
        return (images, 1, *self.shape[2:]) if self.by_view else (images, *self.shape[1:])

    def key(self, name: str, shard: int, view: int = 0) -> str:
        """Key of an object of the array of this name, by Zarr's default chunk key encoding."""
        return "/".join([name, "c", str(shard), str(view), *["0"] * (len(self.shape) - 2)])


@dataclass(frozen=True)
class Part:
    """What one object of every shard holds: an array, or a view of one.

    Attributes:
        array: Name of the array.
        view: Index of the view; 0 where views do not divide the array.
        layout: The array's.
    """

    array: str
    view: int
    layout: ArrayLayout

    def key(self, shard: int) -> str:
        """Key of the object below the store."""
        return self.layout.key(self.array, shard, self.view)

    def of(self, block: Mapping[str, Any]) -> Any:
        """The part's rows of a block that holds an array each."""
        return block[self.array][:, self.view] if self.layout.by_view else block[self.array]


def layer_array(layer: int) -> str:
    """Name of the array that holds a hidden state."""
    return f"layers/{layer}"


def scales_array(layer: int) -> str:
    """Name of the array that holds the scales of a hidden state kept in whole numbers."""
    return f"scales/{layer}"


def part_name(array: str, view: str) -> str:
    """Name of the part that holds a view of an array."""
    return f"{array}/{view}"


def arrays(spec: StoreSpec) -> dict[str, ArrayLayout]:
    """Every array of a store by name (see `identity_arrays`)."""
    return identity_arrays(spec.identity)


def parts(spec: StoreSpec) -> dict[str, Part]:
    """Every part of a store by name (see `identity_parts`)."""
    return identity_parts(spec.identity)


def identity_arrays(identity: Mapping[str, Any]) -> dict[str, ArrayLayout]:
    """Every array of the store of an identity by name.

    `layers/<index>` [N, V, P, C] float16 does not compress and is kept plain; where it is int8 instead,
    `scales/<index>` [N, V, C] float32 is what one step of each channel is worth. `depth` [N, H, W], in uint16 or uint32
    counts of the depth unit, is plain too, since training reads it as often. `image` [N, H, W, 3] uint8 and
    `ground_truth` [N, H, W] (such counts, padded, with `ground_truth_size` [N, 2]) are compressed.
    """
    n, v, tokens = identity["samples"]["count"], len(identity["views"]), identity["tokens"]
    p, c = tokens["patches"], tokens["channels"]
    height, width = identity["image_size"]
    states = ArrayLayout((n, v, p, c), (1, 1, p, c), tokens["storage"], by_view=True)
    pooled = ArrayLayout((n, v, c), (1, 1, c), "float32", by_view=True)
    found = {layer_array(layer): states for layer in identity["layers"]}
    if tokens["storage"] == "int8":
        found |= {scales_array(layer): pooled for layer in identity["layers"]}
    found[POOLED] = pooled
    found[IMAGE] = ArrayLayout((n, height, width, 3), (1, height, width, 3), "uint8", compressed=True)
    if identity["depth"]:
        size, counts = tuple(identity["depth"]["size"]), identity["depth"]["counts"]
        found[DEPTH] = ArrayLayout((n, *size), (1, *size), counts)
        if identity["depth"]["native"]:
            size = tuple(identity["depth"]["native"])
            found[GROUND_TRUTH] = ArrayLayout((n, *size), (1, *size), counts, compressed=True)
            found[GROUND_TRUTH_SIZE] = ArrayLayout((n, 2), (1, 2), "int32")
    return found


def identity_parts(identity: Mapping[str, Any]) -> dict[str, Part]:
    """Every part of the store of an identity by name: `layers/3/flipped`, `pooled/plain`, `image`."""
    found = {}
    for name, array in identity_arrays(identity).items():
        if array.by_view:
            found |= {part_name(name, view): Part(name, at, array) for at, view in enumerate(identity["views"])}
        else:
            found[name] = Part(name, 0, array)
    return found
