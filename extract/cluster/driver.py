"""The extraction run on a Dask cluster: shards as tasks, one process a GPU, the model loaded in the worker."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from ...cache import Location, SpaceClipError, StoreSpec, StoreWriter
from ...cache.cluster import Chosen, Flight, Kind, clear_up, on_workers, run_name, scheduler_needed
from ..computed import settle
from ..engine import Receipt, together
from ..paths import absolute, absolute_backbone
from ..remaining import Known, Work
from ..samples import OnError
from ..settings import ExtractSettings
from ..sources.data_settings import AnyData
from ..split_extraction import Fill
from ..towers import BackboneSettings
from .encoders import choose_batch
from .job import Job
from .worker import AT_ONCE, ShardWorker, extract_shards

# One more is at hand: there are always a few to submit at once, which takes a third less than to submit each alone.
_AHEAD = AT_ONCE + 1
_MOST_TOGETHER = 8
_SHARDS = Kind("shard", lighter="fewer images a shard", twice=True)

Watch = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Cluster:
    """A cluster that a data set is extracted on, split after split.

    Attributes:
        client: Of its scheduler.
        data: The data set.
        backbone: The frozen encoder.
        device: Where the workers compute, as it was asked for.
        chosen: What they compute with.
        settings: What to keep.
        on_error: What to do with an image that cannot be used.
    """

    client: Client
    data: AnyData
    backbone: BackboneSettings
    device: str
    chosen: Chosen
    settings: ExtractSettings
    on_error: OnError = "stop"

    def settle(self, spec: StoreSpec, store: Location) -> StoreSpec:
        """The spec with what the workers compute it with.

        Raises:
            StoreError: The store was begun with something else.
            SpaceClipError: The workers cannot choose a batch.
        """
        device, batch = self.chosen.environment.device, self.settings.batch_size
        return replace(spec, computed=settle(store, device, batch, lambda: self._batch))

    def fill(
        self,
        split: str,
        workers: Callable[[int], None] = lambda _count: None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> Fill:
        """The `fill` of `extract`.

        Args:
            split: Name of the split.
            workers: Called with how many there are.
            say: Called with what is odd.
        """

        def fill(writer: StoreWriter, work: Work, progress: Callable[[int], None]) -> Receipt | None:
            def watch(done: int, _total: int, count: int) -> None:
                writer.still_ours()
                workers(count)
                progress(done)

            here = Path.cwd()
            data, store = absolute(self.data, here), writer.path
            job = Job(
                *(data, split, self._encoder, self.device, self.chosen, self.settings, writer.spec),
                store=store.resolve() if isinstance(store, Path) else store,
                on_error=self.on_error,
                folder=None if data == self.data else here,
            )
            return extract_on_cluster(self.client, job, work, watch, say=say)

        return fill

    @property
    def _encoder(self) -> BackboneSettings:
        """As the workers load it."""
        precision: Any = self.chosen.environment.precision
        return absolute_backbone(self.backbone, Path.cwd()).model_copy(update={"precision": precision})

    @cached_property
    def _batch(self) -> int:
        """What one of the workers chooses; times differ from trial to trial, and all splits shall have one."""
        client: Any = self.client  # distributed types its calls for both kinds of clients
        settings, workers = self.settings, list(self.chosen.workers)
        asked = (self._encoder, self.device, settings.layers, len(settings.views))
        try:
            with scheduler_needed():
                return client.submit(choose_batch, *asked, workers=workers, pure=False).result()
        except (KilledWorker, RuntimeError) as error:
            raise SpaceClipError(
                f"no worker could try out how many images fit at once ({type(error).__name__}: {error}): give a number "
                "(`batch_size`), or look at the workers' logs"
            ) from error


def extract_on_cluster(
    client: Client,
    job: Job,
    work: Work,
    watch: Watch,
    *,
    say: Callable[[str], None] = lambda _line: None,
) -> Receipt | None:
    """Extract shards on whatever workers there are, now or later; with none, wait for some.

    Args:
        client: Of the cluster.
        job: What to extract; the store has been laid out.
        work: Shards that have no record yet, and what of them is known.
        watch: Called with (images computed, images in all, workers) whenever shards are done, and each second. What is
            computed of a shard that has to be begun again counts no more.
        say: Called with a line about workers that hang or are given no more, and there being none.

    Returns:
        How fast the workers were, by what each has said last; None if nothing was computed.

    Raises:
        SpaceClipError: A worker met bad input, a shard failed again and again, no worker is fit, or the scheduler was
            lost. What is committed until then is kept.
    """
    run = run_name(job.spec.fingerprint, client)
    groups = sharing_batches(work.shards, job.spec.shard, job.spec.computed["batch"])
    waiting, done, start = deque(groups), 0, time.perf_counter()
    computed: dict[int, int] = {}
    receipts: dict[str, Receipt] = {}
    lines: deque[str] = deque()

    def hear(event: tuple[float, Any]) -> None:
        """In a thread of the client's."""
        match event[1]:
            case str() as line:
                lines.append(line)
            case int() as first, images:
                computed[first] = images
            case worker, receipt:
                receipts[worker] = Receipt.from_dict(receipt)

    def given(first: int, elsewhere: bool) -> tuple[dict[int, Known], bool]:
        return {shard: work.known_of(shard) for shard in groups[first]}, elsewhere

    with scheduler_needed():
        clear_up(client)
        flight = Flight(client, run, _SHARDS, extract_shards, given, say)
    with on_workers(client, ShardWorker(job, run), run, hear), closing(flight):
        while waiting or flight.open:
            with scheduler_needed():
                workers = max(1, flight.able)
                room = _AHEAD * workers - len(flight.open)
                if room >= workers:
                    flight.begin([waiting.popleft() for _ in range(min(len(waiting), room))])
                done += sum(work.count(shard) for first in flight.done() for shard in groups[first])
            while lines:
                say(lines.popleft())
            begun = sum(images for first, images in list(computed.items()) if first in flight.open)
            watch(done + begun, work.images, len(flight.pool.fit))
    # A worker that was started anew has said so under two addresses.
    here = {worker: found for worker, found in receipts.items() if worker in flight.pool.present} or receipts
    return together(list(here.values()), done, time.perf_counter() - start)


def sharing_batches(shards: Sequence[int], images: int, batch: int) -> dict[int, list[int]]:
    """Shards by the first of those that one worker is given together, since batches cross from one to the next.

    Args:
        shards: Ascending.
        images: Of a shard.
        batch: Images of a batch.
    """
    together = math.lcm(images, batch) // images
    if together > _MOST_TOGETHER:  # some batches are made twice, of half their images each
        together = -(-batch // images)
    groups = (list(group) for _, group in groupby(shards, lambda shard: shard // together))
    return {group[0]: group for group in groups}
