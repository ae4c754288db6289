"""What workers of a Dask cluster are told."""

from dataclasses import dataclass
from pathlib import Path

from ...cache import Location, StoreSpec
from ...cache.cluster import Chosen
from ..samples import OnError
from ..settings import ExtractSettings
from ..sources.data_settings import AnyData
from ..towers import BackboneSettings


@dataclass(frozen=True)
class Job:
    """What a worker must know to extract shards of one split; the same for all workers.

    Attributes:
        data: The data set, whose files the workers see under the same paths, all absolute.
        split: Name of the split.
        backbone: The frozen encoder; a path is absolute.
        device: Where the worker computes; `auto` takes its GPU, if it has one.
        chosen: What all workers compute with.
        settings: Batch size and threads.
        spec: What the store holds.
        store: The store's folder, seen by all workers under this path.
        on_error: What to do with a sample that cannot be used.
        folder: What the run's own paths were relative to, so that records name files as it does; None if to nothing.
    """

    data: AnyData
    split: str
    backbone: BackboneSettings
    device: str
    chosen: Chosen
    settings: ExtractSettings
    spec: StoreSpec
    store: Location
    on_error: OnError = "stop"
    folder: Path | None = None
