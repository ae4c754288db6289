"""A GPU that encodes: it computes the next batch while the features of the one before are copied to the host."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ...cache import PlainObject, StoreSpec
from ..towers import Backbone, Features, fastest_tower
from .device import HostDevice, Landing, missing
from .receipt import Stage
from .shards import Run


class CudaDevice(HostDevice):
    """A CUDA card. What it copies goes from and to page-locked memory, on a stream of its own.

    Args:
        backbone: The frozen encoder.
        spec: What the store holds.
    """

    fixed = True

    def __init__(self, backbone: Backbone, spec: StoreSpec) -> None:
        super().__init__(backbone, spec)
        self._device = backbone.device
        self._copies = torch.cuda.Stream(self._device)
        self._tower: Callable[[Tensor], Features] | None = None
        self._size = 0

    @override
    def allocate(self, size: int) -> NDArray[np.uint8]:
        return torch.zeros(size, dtype=torch.uint8, pin_memory=True).numpy()

    @override
    def let_go(self) -> None:
        self._tower = None
        torch.cuda.empty_cache()

    @override
    def prepare(self, images: int) -> str:
        torch.cuda.set_device(self._device)  # of this thread, which launches all that follows
        tower = fastest_tower(self._backbone, self._spec.layers, images)
        self._tower, self._size = tower.encode, images
        return tower.says

    @override
    def _encoded(self, pixels: Tensor, layers: Sequence[int]) -> Features:
        if self._tower is None or len(pixels) != self._size:
            return super()._encoded(pixels, layers)
        # The next call overwrites these; by then they are packed, as it is on the same stream.
        return self._tower(pixels)

    @override
    def encode(
        self, images: NDArray[np.uint8], runs: Sequence[Run], stage: Stage, wanted: frozenset[str] = frozenset()
    ) -> Landing:
        """Begin with a batch. This returns at once: the card computes, then copies."""
        stream = torch.cuda.current_stream(self._device)
        begun, computed, copied = (torch.cuda.Event(enable_timing=timed) for timed in (True, True, False))
        begun.record(stream)
        cpu = time.thread_time()
        moments: list[Tensor] = []
        targets: list[list[tuple[PlainObject, Run]]] = []
        with torch.inference_mode():
            for name, values in self._features(images, wanted | missing(runs)):
                landing = [(run.features[name], run) for run in runs if name in run.wanted]
                if landing:
                    packed = self._packed(values, landing[0][0])
                    if landing[0][0].moments is not None:
                        moments.append(_moments(packed, values[0].numel()))
                        targets.append(landing)
                    self._copy(packed, landing, stream)
            computed.record(stream)
            found = self._fetched(torch.stack(moments), stream) if moments else None
        self._copies.wait_stream(stream)
        copied.record(self._copies)
        now = time.perf_counter()
        stage.add(now, now, time.thread_time() - cpu)
        return _Copying((begun, computed, copied), found, targets, stage)

    def _packed(self, values: Tensor, into: PlainObject) -> Tensor:
        """Rows [n, bytes of a chunk and its checksum], as they are stored, so that each run is one copy."""
        dtype = torch.from_numpy(into.rows[:0]).dtype
        size = values[0].numel()
        packed = torch.zeros((len(values), into.step // dtype.itemsize), dtype=dtype, device=self._device)
        packed[:, :size].unflatten(1, values.shape[1:]).copy_(values)
        return packed

    def _copy(self, packed: Tensor, landing: Sequence[tuple[PlainObject, Run]], stream: "torch.cuda.Stream") -> None:
        self._copies.wait_stream(stream)
        with torch.cuda.stream(self._copies):
            for into, run in landing:
                memory = into.buffer[run.rows.start * into.step : run.rows.stop * into.step]
                rows = torch.from_numpy(memory).view(packed.dtype)
                rows.copy_(packed[run.slots].flatten(), non_blocking=True)
        packed.record_stream(self._copies)

    def _fetched(self, moments: Tensor, stream: "torch.cuda.Stream") -> Tensor:
        host = torch.empty(moments.shape, dtype=moments.dtype, pin_memory=True)
        self._copies.wait_stream(stream)
        with torch.cuda.stream(self._copies):
            host.copy_(moments, non_blocking=True)
        moments.record_stream(self._copies)
        return host


class _Copying:
    """A batch that is being computed, or copied."""

    def __init__(
        self,
        events: "tuple[torch.cuda.Event, torch.cuda.Event, torch.cuda.Event]",
        moments: Tensor | None,
        targets: Sequence[Sequence[tuple[PlainObject, Run]]],
        stage: Stage,
    ) -> None:
        self._events, self._moments, self._targets, self._stage = events, moments, targets, stage

    def wait(self) -> None:
        begun, computed, copied = self._events
        copied.synchronize()
        if self._moments is not None:
            for found, landing in zip(self._moments.numpy(), self._targets, strict=True):
                for into, run in landing:
                    assert into.moments is not None
                    into.moments[run.rows] = found[run.slots]
        now = time.perf_counter()
        self._stage.add(now - begun.elapsed_time(computed) / 1000, now)


def _moments(packed: Tensor, size: int) -> Tensor:
    """The moments of float16 rows, [n, 5] float64."""
    wide = packed[:, :size].float()
    square = torch.linalg.vector_norm(wide, dim=1).double().square()
    sums = (wide.sum(1), wide.amin(1), wide.amax(1), wide.count_nonzero(1))
    total, low, high, nonzero = (found.double() for found in sums)
    return torch.stack([total, square, low, high, nonzero], 1)
