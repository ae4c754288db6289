"""The extraction run on one machine: decoding, encoding and writing at once, a shard at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cache import FeatureCache, Pointer, Quarantined, StoreSpec, StoreWriter, adopt, adoptable, only_writer, sweep
from ..cache.ledger import read_ledger
from .backbone import Backbone
from .blocks import Filled, shard_blocks
from .preflight import Prediction, predict
from .samples import OnError
from .settings import ExtractSettings, store_spec
from .sources import Source
from .stages import WRITE, Ceilings, Stages

Progress = Callable[[int, int], None]
Fill = Callable[[StoreWriter, Sequence[int], Callable[[int], None]], None]
"""Computes and commits pending shards of a store, and tells how many images are done."""


@dataclass(frozen=True)
class Extraction:
    """What a run did.

    Attributes:
        pointer: The pointer file that it left.
        store: The store that the pointer means.
        images: Images in the store.
        computed: Of these, images that this run had to compute.
        quarantined: Of these, images that could not be used, whichever run found them.
        ceilings: How fast this run was, and what held it back; None where it computed nothing.
    """

    pointer: Path
    store: Path
    images: int
    computed: int
    quarantined: tuple[Quarantined, ...] = ()
    ceilings: Ceilings | None = field(default=None, compare=False)


def extract(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    folder: Path,
    split: str,
    about: Mapping[str, Any],
    progress: Progress = lambda _done, _total: None,
    *,
    on_error: OnError = "stop",
    retry_quarantined: bool = False,
    predicted: Callable[[Prediction], None] = lambda _prediction: None,
    fill: Fill | None = None,
) -> Extraction:
    """Fill the store of one split, or finish one that was interrupted, and leave a pointer to it.

    The store lies at `<folder>/<split>-<fingerprint>.zarr`, the pointer at `<folder>/<split>.json`. Shards that a store
    of this split beside it holds already, made alike and of the same samples, are linked and not computed.

    Args:
        source: The samples; `source.check()` finds most bad input before long work, and is the caller's to make.
        backbone: The frozen encoder.
        settings: What to keep.
        folder: Where stores and pointers go.
        split: Name of the split.
        about: What a reader may want to know of the data set.
        progress: Called with (images done, images in all).
        on_error: `stop` at a sample that cannot be used, or `quarantine` it: it keeps its row, is recorded with the
            reason, and is left out of batches. The other rows' bytes are the same.
        retry_quarantined: Do the shards again that hold quarantined samples.
        predicted: Told what the run will take, before the long work.
        fill: Does the long work elsewhere, as `cluster.fill_on` does; here if not given.

    Raises:
        SpaceClipError: Bad input found before or during the run, a layer that the encoder lacks, too little space, or
            another run writes this store. Shards committed until then are kept.
    """
    backbone.check_layers(settings.layers)
    spec = store_spec(source, backbone, settings)
    store, total = _store_path(folder, split, spec), len(spec.entries)
    with only_writer(store):
        writer = StoreWriter(store, spec, about)
        if retry_quarantined:
            for shard in [shard for shard, record in writer.records.items() if record.quarantined]:
                writer.forget(shard)
        sweep(store, spec, writer.pending)
        adopt(writer, _like_stores(store, split))
        pending = writer.pending
        done = total - _count(spec, pending)
        stages = Stages(settings.threads)
        if pending:
            prediction = predict(source, backbone, spec, settings, store, pending, on_error)
            predicted(prediction)
            prediction.require_space()
            stages = Stages(settings.threads)
        progress(done, total)

        def report(computed: int) -> None:
            progress(done + computed, total)

        if fill is None:
            inputs = (source, backbone, spec, settings, pending, report)
            _write(writer, shard_blocks(*inputs, on_error=on_error, stages=stages), stages)
        else:
            fill(writer, pending, report)
        ceilings = stages.ceilings(total - done) if fill is None else None
        cache = FeatureCache.open(store)
        pointer = folder / f"{split}.json"
        Pointer(store.name, spec.fingerprint, total, cache.digest).write(pointer)
    records = (cache.records[shard] for shard in sorted(cache.records))
    quarantined = tuple(sample for record in records for sample in record.quarantined)
    return Extraction(pointer, store, total, total - done, quarantined, ceilings)


def plan(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    folder: Path,
    split: str,
    *,
    on_error: OnError = "stop",
    retry_quarantined: bool = False,
) -> Prediction:
    """Say what `extract` would take with the same arguments. Nothing is written.

    Raises:
        SpaceClipError: As `extract`, as far as it can be known beforehand.
    """
    backbone.check_layers(settings.layers)
    spec = store_spec(source, backbone, settings)
    store = _store_path(folder, split, spec)
    records = read_ledger(store, spec.fingerprint)
    kept = {shard for shard, record in records.items() if not (retry_quarantined and record.quarantined)}
    pending = [shard for shard in range(spec.shards) if shard not in kept]
    linked = adoptable(spec, pending, _like_stores(store, split))
    pending = [shard for shard in pending if shard not in linked]
    return predict(source, backbone, spec, settings, store, pending, on_error)


def _store_path(folder: Path, split: str, spec: StoreSpec) -> Path:
    return folder / f"{split}-{spec.fingerprint}.zarr"


def _like_stores(store: Path, split: str) -> list[Path]:
    """Stores of the same split beside this one, as it was before images were mended, replaced or added."""
    return [found for found in store.parent.glob(f"{split}-*.zarr") if found != store]


def _count(spec: StoreSpec, shards: Sequence[int]) -> int:
    return sum(stop - start for start, stop in map(spec.rows, shards))


def _write(writer: StoreWriter, filled: Iterator[Filled], stages: Stages) -> None:
    """Write each shard while the next is filled."""

    def write(shard: Filled) -> None:
        with stages.busy(WRITE):
            record = writer.write(*shard)
        stages.written(sum(stored.bytes for stored in record.arrays.values()))

    with ThreadPoolExecutor(1, thread_name_prefix="store") as storing:
        writing: Future[None] | None = None
        for shard in filled:
            if writing:
                writing.result()
            writing = storing.submit(write, shard)
        if writing:
            writing.result()
