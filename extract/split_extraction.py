"""The extraction of one split: what is there already, what has to be computed, and that it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cache import (
    DepthRange,
    EncoderRate,
    FeatureCache,
    Location,
    Pointer,
    Quarantined,
    Record,
    StoreSpec,
    StoreWriter,
    link_parts,
    locate,
    only_writer,
    place_at,
    read_ledger,
    whole_store,
)
from .computed import Settle, settled
from .engine import ENCODE, Engine, Receipt, StoreSink, device_of
from .estimate import Prediction, predict
from .lacking import Lacking, mended
from .problems import counted
from .redivision import store_of
from .remaining import Work
from .same_samples import require_same_samples
from .samples import OnError
from .settings import ExtractSettings, computing, store_spec
from .sources.source import Source
from .towers import Backbone

Progress = Callable[[int, int], None]
Fill = Callable[[StoreWriter, Work, Callable[[int], None]], Receipt | None]
"""Computes and commits the shards of a store that have no record, tells how many images are done, and how fast."""


@dataclass(frozen=True)
class Extraction:
    """What a run did.

    Attributes:
        pointer: The pointer file that it left.
        store: The store that the pointer means.
        images: Images in the store.
        computed: Of these, images that this run computed.
        without_depth: Of these, images without ground truth where the others have it.
        quarantined: Of these, images that could not be used, whichever run found them.
        depth: Median and range of the store's depth; None without.
        receipt: How fast this run was, and what held it back; None where it computed nothing.
    """

    pointer: Location
    store: Location
    images: int
    computed: int
    without_depth: int = 0
    quarantined: tuple[Quarantined, ...] = ()
    depth: DepthRange | None = None
    receipt: Receipt | None = field(default=None, compare=False)

    def __str__(self) -> str:
        without = f", {self.without_depth} without ground truth" if self.without_depth else ""
        depth = f"; depth {self.depth}" if self.depth else ""
        images = counted(self.images, "image")
        return f"{self.pointer}: {images}{without} ({self.computed} computed now) in {self.store}{depth}"


def extract(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    folder: Location,
    split: str,
    about: Mapping[str, Any],
    progress: Progress = lambda _done, _total: None,
    *,
    on_error: OnError = "stop",
    retry_quarantined: bool = False,
    predicted: Callable[[Prediction], None] = lambda _prediction: None,
    say: Callable[[str], None] = lambda _line: None,
    fill: Fill | None = None,
    settle: Settle | None = None,
    outdated: Sequence[Location] = (),
) -> Extraction:
    """Fill the store of one split, or finish one that was interrupted, and leave a pointer to it.

    The store lies at `<folder>/<split>-<fingerprint>.zarr` (or in `settings.store`), the pointer at
    `<folder>/<split>.json`. What a compatible store of this split beside it holds already is not computed again:
    whole layers and views of a shard are linked, single rows copied. How fast the encoder was lies beside the store
    (`EncoderRate`).

    Args:
        source: The samples; `source.check()` finds most bad input before long work, and is the caller's to make.
        backbone: The frozen encoder.
        settings: What to keep.
        folder: Where stores and pointers go, a path or a URL.
        split: Name of the split.
        about: What a reader may want to know of the data set.
        progress: Called with (images done, images in all).
        on_error: `stop` at a sample that cannot be used, or `quarantine` it: it keeps its row, is recorded with the
            reason, and is left out of batches. The other rows' bytes are the same.
        retry_quarantined: Do the shards again that hold quarantined samples which can be used now.
        predicted: Called with what the run will take, before the long work.
        say: Called with a line that a user should know.
        fill: Does the long work elsewhere, as `cluster.Cluster.fill` does; here if not given.
        settle: Says what is computed with there.
        outdated: Pointers of other splits, removed before this one's is written: old and new stores do not mix.

    Raises:
        SpaceClipError: Bad input found before or during the run, a layer that the encoder lacks, too little space,
            another run writes this store, or it was made of other files. Shards committed until then are kept.
    """
    backbone.check_layers(settings.layers)
    spec = store_spec(source, backbone, settings)
    store, pointer = store_at(folder, split, spec, settings), folder / f"{split}.json"
    total, computed, receipt = len(spec.entries), 0, None
    _say_replaced(pointer, store, spec, say)

    def point(cache: FeatureCache) -> None:
        for other in outdated:
            place_at(other.parent).delete(other.name)
        Pointer.to(store, pointer, spec.fingerprint, total, cache.digest).write(pointer)

    # Nothing is written to a store that is whole, so that many runs may use it at once.
    cache = None if retry_quarantined else whole_store(store, spec)
    if cache is not None:
        require_same_samples(source, spec, cache, settings.threads_here(), say)
        progress(total, total)
        point(cache)
        # Until there was a pointer, `cache gc` might have taken the store away.
        cache = whole_store(store, spec)
    if cache is None:
        spec = settle(spec, store) if settle else settled(spec, store, backbone, settings)
        with only_writer(store) as still_ours:
            writer = StoreWriter(store, spec, about, still_ours)
            work, receipt = _complete(
                *(source, backbone, settings, writer, split, progress),
                on_error=on_error,
                retry_quarantined=retry_quarantined,
                predicted=predicted,
                say=say,
                fill=fill,
            )
            cache = FeatureCache.open(store)
            computed = sum(_usable(work, cache.records[shard]) for shard in work.shards)
            if receipt and receipt.encoded:
                seconds, precision = receipt.stages[ENCODE].busy, spec.backbone["precision"]
                EncoderRate(receipt.encoded, seconds, spec.computed["device"], precision).add_to(store)
            point(cache)
    records = (cache.records[shard] for shard in sorted(cache.records))
    quarantined = tuple(sample for record in records for sample in record.quarantined)
    without_depth = about.get("without_depth") or 0
    return Extraction(pointer, store, total, computed, without_depth, quarantined, cache.depth_range, receipt)


def _say_replaced(pointer: Location, store: Location, spec: StoreSpec, say: Callable[[str], None]) -> None:
    """Say which other store a pointer means until the extraction is done, if it does."""
    other = store_of(pointer)
    if other and other.fingerprint != spec.fingerprint:
        shared, total = len({*other.entries} & {*spec.entries}), len(spec.entries)
        say(
            f"{pointer} means {other.path} now ({len(other):,} images, {shared:,} of them among these {total:,}), and "
            f"{store} when this is done; the other stays until `spaceclip cache gc` removes it"
        )


def _complete(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    writer: StoreWriter,
    split: str,
    progress: Progress,
    *,
    on_error: OnError,
    retry_quarantined: bool,
    predicted: Callable[[Prediction], None],
    say: Callable[[str], None],
    fill: Fill | None,
) -> tuple[Work, Receipt | None]:
    """Write what a store lacks; what was computed for it, and how fast."""
    spec, store, total = writer.spec, writer.path, len(writer.spec.entries)
    again = mended(source, spec, writer.records, settings, on_error) if retry_quarantined else []
    writer.sweep()
    lacking = Lacking.of(spec, store, split, writer.records, again)
    work = lacking.work(link_parts(writer, lacking.offered), writer.records)
    done = total - work.images
    if work.shards or work.taken:
        # Nothing of a store that was whole is forgotten until all that can be known beforehand is known.
        prediction = predict(source, backbone, work, settings, store, on_error, timed=fill is None)
        predicted(prediction)
        prediction.require_space()
    progress(done, total)

    def report(computed: int) -> None:
        progress(done + computed, total)

    if fill is None:
        return work, _fill(source, backbone, settings, writer, work, report, on_error, say)
    # Who computes elsewhere takes a shard that has a record for done.
    for shard in again:
        writer.forget(shard)
    receipt = fill(writer, work, report)
    # Of a worker that was lost another has done the shards.
    writer.sweep(work.shards)
    return work, receipt


def _usable(work: Work, record: Record) -> int:
    """Rows of a shard that were computed and are none of a quarantined sample."""
    return len({*work.rows(record.shard)} - {sample.row for sample in record.quarantined})


def _fill(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    writer: StoreWriter,
    work: Work,
    report: Callable[[int], None],
    on_error: OnError,
    say: Callable[[str], None],
) -> Receipt | None:
    """Compute and commit in this process."""
    spec = writer.spec
    with (
        computing(backbone, settings),
        Engine(
            *(source, device_of(backbone, spec), spec, StoreSink(writer)),
            batch=spec.computed["batch"],
            threads=settings.threads_here(),
            on_error=on_error,
            say=say,
        ) as engine,
    ):
        told = 0

        def watch() -> None:
            nonlocal told
            if engine.images > told:
                told = engine.images
                report(told)

        engine.wait([engine.submit(work, shard) for shard in work.shards], watch)
        return engine.receipt()


def plan(
    source: Source,
    backbone: Backbone,
    settings: ExtractSettings,
    folder: Location,
    split: str,
    *,
    on_error: OnError = "stop",
    retry_quarantined: bool = False,
    timed: bool = True,
    say: Callable[[str], None] = lambda _line: None,
    settle: Settle | None = None,
) -> Prediction:
    """Say what `extract` would take with the same arguments, its time if wanted. Nothing is written.

    Raises:
        SpaceClipError: As `extract`, as far as it can be known beforehand.
    """
    backbone.check_layers(settings.layers)
    spec = store_spec(source, backbone, settings)
    store = store_at(folder, split, spec, settings)
    _say_replaced(folder / f"{split}.json", store, spec, say)
    records = read_ledger(place_at(store), spec.fingerprint)
    again = mended(source, spec, records, settings, on_error) if retry_quarantined else []
    if again or len(records) < spec.shards:
        spec = settle(spec, store) if settle else settled(spec, store, backbone, settings)
    work = Lacking.of(spec, store, split, records, again).planned()
    return predict(source, backbone, work, settings, store, on_error, timed=timed)


def store_at(folder: Location, split: str, spec: StoreSpec, settings: ExtractSettings) -> Location:
    """Where the store of a split lies."""
    return (folder if settings.store is None else locate(settings.store)) / f"{split}-{spec.fingerprint}.zarr"
