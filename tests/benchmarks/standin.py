"""A stand-in for a card: real-sized features at a given rate, which cost the host nothing but to take them."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from spaceclip.cache import MOMENTS, Record, ShardBuffer, StoreSpec, StoreWriter, feature_objects, parts
from spaceclip.cache.format.buffers import PlainObject
from spaceclip.cache.places.folder import Folder
from spaceclip.cache.places.place import Stored
from spaceclip.extract import ExtractSettings, FolderSettings, FolderSource
from spaceclip.extract.engine import HostDevice, ShardUnderWay, StoreSink
from spaceclip.extract.engine.receipt import Stage
from spaceclip.extract.engine.shards import Run
from spaceclip.extract.settings import store_spec

SETTINGS = ExtractSettings()
"""Seven states of 196 x 768, two views."""


def source_and_spec(pictures: Path) -> tuple[FolderSource, StoreSpec]:
    """Pictures, and a store of what a ViT-B/16 would give of them."""
    normal = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    shape: Any = SimpleNamespace(identity={"name": "stand-in"}, patches=196, channels=768, input_size=224, **normal)
    source = FolderSource(FolderSettings(images=pictures))
    return source, store_spec(source, shape, SETTINGS)


class StandIn(HostDevice):
    """Sleeps as long as a card would compute, from the end of the batch before, and copies features then.

    A real card's copies are its own (DMA); here a thread of the host makes them, and they count as the host's.

    Args:
        rate: Images a second, all views.
        spec: What the store holds.
        batch: Images of a batch.
    """

    fixed = True

    def __init__(self, rate: float, spec: StoreSpec, batch: int) -> None:
        self.kind = self.name = "stand-in"
        self._rate, self._spec, self._free = rate, spec, 0.0
        draw = np.random.default_rng(0)
        self._packed: dict[int, NDArray[np.uint8]] = {}
        for feature in feature_objects(spec).values():
            if feature.step not in self._packed:
                values = draw.standard_normal((batch, feature.step // 4), np.float32)
                values = values.astype(feature.rows.dtype).view(np.uint8)
                self._packed[feature.step] = np.resize(values, (batch, feature.step))
        self._moments = np.tile(np.array([0.0, 1.0, -5.0, 5.0, 1.0]), (batch, 1))
        assert self._moments.shape[1] == len(MOMENTS)

    def encode(
        self, images: NDArray[np.uint8], runs: Sequence[Run], stage: Stage, wanted: frozenset[str] = frozenset()
    ) -> "_Copying":
        """Begin with a batch."""
        begin = max(self._free, time.perf_counter())
        self._free = begin + len(images) / self._rate
        return _Copying(lambda: self._copy(runs), begin, self._free, stage)

    def _copy(self, runs: Sequence[Run]) -> None:
        for run in runs:
            for name in run.wanted & run.features.keys():
                into = run.features[name]
                memory = into.buffer[run.rows.start * into.step : run.rows.stop * into.step]
                memory.reshape(-1, into.step)[:] = self._packed[into.step][run.slots]
                if into.moments is not None:
                    into.moments[run.rows] = self._moments[run.slots]


class Passing(StoreSink):
    """Writes and commits shards, and deletes their objects at once: memory and disk hold few at a time.

    Args:
        writer: Of the store.
    """

    def __init__(self, writer: StoreWriter) -> None:
        super().__init__(writer)
        self._place, self._parts = writer.place, parts(writer.spec)

    def write(self, shard: ShardUnderWay, buffer: ShardBuffer, pool: Executor) -> Record:
        """Write, commit and delete a shard."""
        record = super().write(shard, buffer, pool)
        for name in record.objects:
            self._place.delete(self._parts[name].key(shard.shard))
        return record


@dataclass
class _Copying:
    """A batch that is being computed, then copied."""

    copy: Callable[[], None]
    begin: float
    end: float
    stage: Stage

    def wait(self) -> None:
        time.sleep(max(0.0, self.end - time.perf_counter()))
        self.copy()
        self.stage.add(self.begin, self.end)


@contextmanager
def processor_time() -> Iterator[dict[str, float]]:
    """Context that adds up the processor time of what the host does with features, by name."""
    spent = {"copy": 0.0, "seal": 0.0, "hash": 0.0, "write": 0.0, "delete": 0.0}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                spent[name] += time.thread_time() - start

        return wrapper

    with ExitStack() as stack:
        stack.enter_context(patch.object(StandIn, "_copy", timed("copy", StandIn._copy)))
        stack.enter_context(patch.object(PlainObject, "seal", timed("seal", PlainObject.seal)))
        stack.enter_context(patch.object(Stored, "of", staticmethod(timed("hash", Stored.of))))
        stack.enter_context(patch.object(Folder, "write", timed("write", Folder.write)))
        stack.enter_context(patch.object(Folder, "delete", timed("delete", Folder.delete)))
        yield spent


def object_sizes(spec: StoreSpec) -> list[int]:
    """Bytes of every object of features that a store will have."""
    sizes = [feature.step for feature in feature_objects(spec).values()]
    rows = [stop - start for start, stop in map(spec.rows, range(spec.shards))]
    return [size * count for count in rows for size in sizes]
