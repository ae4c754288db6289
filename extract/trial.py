"""Trying out an extraction on a few samples: what they take, and how deep they are."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from dask.system import CPU_COUNT

from ..cache import DepthRange, Record, Stored, StoreSpec, parts
from .engine import Engine, HostDevice, WeighingSink, device_of
from .remaining import Work
from .samples import OnError
from .settings import ExtractSettings, computing
from .sources.folder.files import spread
from .sources.source import Sample, Source
from .towers import Backbone

_MOST_PROBED = 64
_MOST_PROBED_ON_CPU = 16
_IMAGES_A_PROBE = 64
"""Less than two in a hundred images are decoded twice."""
_MOST_SECONDS = 5.0
"""For a processor to encode the probes; one is encoded however long it takes."""


class Tried(NamedTuple):
    """What extracting an image takes: bytes of each part, and seconds; and how many were extracted to know that."""

    sizes: dict[str, float]
    seconds: float
    images: int


class _Probes:
    """Some samples of a source, as a source and a store of their own, which notes their depth."""

    def __init__(self, source: Source, spec: StoreSpec, rows: list[int]) -> None:
        self._source, self._rows = source, rows
        self.entries = [spec.entries[row] for row in rows]
        self.spec = replace(spec, entries=self.entries, shard=len(rows))
        self._depths: dict[int, DepthRange] = {}

    def load(self, index: int) -> Sample:
        """Decode one of them."""
        sample = self._source.load(self._rows[index])
        depth = np.empty(0) if sample.depth is None else sample.depth[sample.depth > 0]
        if depth.size:
            self._depths[index] = DepthRange(float(np.median(depth)), float(depth.min()), float(depth.max()))
        return sample

    @property
    def depth(self) -> DepthRange | None:
        """Median and range of the depth of those decoded; None where none was measured."""
        if not self._depths:
            return None
        medians, lows, highs = zip(*self._depths.values(), strict=True)
        return DepthRange(float(np.median(medians)), min(lows), max(highs))


def tried(
    source: Source,
    backbone: Backbone,
    work: Work,
    settings: ExtractSettings,
    asked: Mapping[frozenset[str], frozenset[str]],
    on_error: OnError,
) -> tuple[dict[frozenset[str], Tried], DepthRange | None]:
    """Extract some images for each set of parts that shards lack, by what is asked of it; and the depth of those."""
    spec, device, start = work.spec, device_of(backbone, work.spec), time.perf_counter()
    most = min(_MOST_PROBED, 1 + work.images // _IMAGES_A_PROBE)
    with computing(backbone, settings):
        device.warm_up(spec.computed["batch"], frozenset[str]().union(*asked.values()))
        if backbone.device.type == "cpu":
            # It encoded one image.
            encoded = int(_MOST_SECONDS / len(asked) / (time.perf_counter() - start))
            most = max(1, min(most, _MOST_PROBED_ON_CPU, encoded))
        probes = _Probes(source, spec, list(_probes(work, most)))
        return {
            lacking: _extracted(probes, device, settings, parts, on_error) for lacking, parts in asked.items()
        }, probes.depth


def _extracted(
    probes: _Probes, device: HostDevice, settings: ExtractSettings, lacking: frozenset[str], on_error: OnError
) -> Tried:
    """Extract the probes with the engine of the run, as a shard that lacks some parts, and keep nothing."""
    spec = probes.spec
    there = {name: Stored(0, "") for name in parts(spec).keys() - lacking}
    work = Work(spec, [0], {0: Record(spec.fingerprint, 0, 0, spec.shard, there, {})})
    sink, batch, threads = WeighingSink(CPU_COUNT), spec.computed["batch"], settings.threads_here()
    with Engine(probes, device, spec, sink, batch=batch, threads=threads, on_error=on_error) as engine:
        engine.wait([engine.submit(work, 0)])
        receipt, images = engine.receipt(), spec.shard - sink.bad
    device.let_go()
    sizes = {name: size / max(1, images) for name, size in sink.bytes.items()}
    return Tried(sizes, receipt.alone if receipt else 0.0, images)


def _probes(work: Work, count: int) -> Iterator[int]:
    """Rows that have to be computed, evenly spread."""
    wanted, passed = deque(spread(work.images, count)), 0
    for shard in work.shards:
        here = passed + work.count(shard)
        if wanted and wanted[0] < here:
            rows = work.rows(shard)
            while wanted and wanted[0] < here:
                yield rows[wanted.popleft() - passed]
        passed = here
