"""The device that encodes: from a batch of images to features that lie where they will be written.

What it gives is copied once, into the memory of the shards' objects, and rounded to float16 on the way; the moments of
each row are taken on the device.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache import MOMENTS, POOLED, PlainObject, StoreSpec, host_memory, layer_array, part_name
from ..towers import Backbone, Features, land
from .receipt import Stage
from .shards import Run


class Landing(Protocol):
    """A batch that is encoded, or on a GPU still being encoded and copied."""

    def wait(self) -> None:
        """Return when its features and their moments are in the shards' memory."""
        ...


class Landed:
    """A batch whose features are where they belong."""

    def wait(self) -> None:
        """Return."""


class HostDevice:
    """An encoder whose results are fetched in step: a processor's, or MPS's.

    Args:
        backbone: The frozen encoder.
        spec: What the store holds.

    Attributes:
        kind: `cpu`, `cuda` or `mps`.
        name: Of the device, as PyTorch has it.
        fixed: Whether batches must have the full size always, so that the same kernels compute every image.
    """

    fixed = False

    def __init__(self, backbone: Backbone, spec: StoreSpec) -> None:
        self.kind, self.name, self._backbone, self._spec = backbone.device.type, str(backbone.device), backbone, spec
        self._wide = torch.empty(0)

    def allocate(self, size: int) -> NDArray[np.uint8]:
        """Memory of the host that the device copies from, and into."""
        return host_memory(size)

    def let_go(self) -> None:
        """Give memory back that is kept for later."""

    def prepare(self, images: int) -> str:
        """Have the encoder called the fastest way for batches of this size; what was chosen, if there was a choice."""
        return ""

    def warm_up(self, images: int, wanted: frozenset[str]) -> None:
        """Have kernels chosen and memory found, so that a time that is measured then is that of the work."""
        black = np.zeros((images if self.fixed else 1, *self._spec.image_size, 3), np.uint8)
        self.encode(black, [], Stage("", 1), wanted).wait()

    def encode(
        self, images: NDArray[np.uint8], runs: Sequence[Run], stage: Stage, wanted: frozenset[str] = frozenset()
    ) -> Landing:
        """Encode a batch, and have its features on their way to where they go.

        Args:
            images: [n, S, S, 3] RGB.
            runs: What of the batch goes where, in shards that have room for features.
            stage: Gets the time that the device computes.
            wanted: Parts to compute besides those that the shards lack.
        """
        with stage.busy(), torch.inference_mode():
            for name, values in self._features(images, wanted | missing(runs)):
                for run in runs:
                    if name in run.wanted:
                        self._land(run.features[name], run, values)
        return Landed()

    def _features(self, images: NDArray[np.uint8], wanted: frozenset[str]) -> Iterator[tuple[str, Tensor]]:
        """Parts that are wanted and their values [n, ...], on the device."""
        pixels = torch.from_numpy(images)
        if self.fixed:
            pixels = pixels.to(self._backbone.device, non_blocking=True)
        pixels = pixels.permute(0, 3, 1, 2).contiguous()
        for view in self._spec.views:
            layers = [layer for layer in self._spec.layers if part_name(layer_array(layer), view) in wanted]
            if not layers and part_name(POOLED, view) not in wanted:
                continue
            features = self._encoded(pixels.flip(-1) if view == "flipped" else pixels, layers)
            for layer in layers:
                yield part_name(layer_array(layer), view), features.states[layer]
            yield part_name(POOLED, view), features.pooled

    def _encoded(self, pixels: Tensor, layers: Sequence[int]) -> Features:
        return self._backbone.encode(pixels, layers)

    def _land(self, into: PlainObject, run: Run, values: Tensor) -> None:
        rows = torch.from_numpy(into.rows[run.rows])
        land(rows, values[run.slots])
        if into.moments is not None:
            if self._wide.shape[1:] != rows.shape[1:] or len(self._wide) < len(rows):
                self._wide = torch.empty(rows.shape)
            into.moments[run.rows] = _moments(rows, self._wide[: len(rows)])

    def moments(self, row: NDArray[np.float16]) -> NDArray[np.float64]:
        """The moments of one row [P, C] that was computed before, the very ones that were taken then on a processor."""
        rows = torch.from_numpy(row)[None]
        return _moments(rows, torch.empty(rows.shape))[0]


def _moments(rows: Tensor, wide: Tensor) -> NDArray[np.float64]:
    """The moments of float16 rows [n, P, C] in the host's memory, [n, 5]; `wide` is room for them in float32."""
    wide.copy_(rows)
    found = np.empty((len(rows), len(MOMENTS)))
    # Of each token first: a sum over all of a row would be divided among threads, by how many rows there are.
    found[:, 0] = wide.sum(-1).numpy().sum(-1, dtype=np.float64)
    found[:, 1] = np.square(torch.linalg.vector_norm(wide, dim=-1).numpy(), dtype=np.float64).sum(-1)
    found[:, 2] = wide.amin(-1).numpy().min(-1)
    found[:, 3] = wide.amax(-1).numpy().max(-1)
    # On the bits, where doubling makes both zeros zero, counting takes a tenth of the time.
    found[:, 4] = [np.count_nonzero(row + row) for row in rows.numpy().view(np.uint16)]
    return found


def missing(runs: Sequence[Run]) -> frozenset[str]:
    """Parts that the shards of a batch lack."""
    return frozenset[str]().union(*(run.wanted for run in runs))
