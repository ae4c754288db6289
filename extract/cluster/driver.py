"""The extraction run on a Dask cluster: shards as tasks, one process a GPU, the model loaded in the worker."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, WorkerPlugin
from distributed.scheduler import KilledWorker

from ...cache import Location, SpaceClipError, StoreSpec, StoreWriter
from ..computed import settle
from ..engine import Receipt, together
from ..paths import absolute, absolute_backbone
from ..remaining import Known, Work
from ..samples import OnError
from ..settings import ExtractSettings
from ..sources.data_settings import AnyData
from ..split_extraction import Fill
from ..towers import BackboneSettings
from .connection import scheduler_needed
from .encoders import EncoderKeeper, choose_batch
from .environment import Chosen
from .scheduling import OVERDUE_SECONDS, Flight
from .worker import AT_ONCE, Job, ShardWorker, extract_shards, images_topic

PLUGIN = "spaceclip-extract"

# One more is at hand: there are always a few to submit at once, which takes a third less than to submit each alone.
_AHEAD = AT_ONCE + 1
_MOST_TOGETHER = 8
_UNREGISTER_SECONDS = 5
_REGISTER_TRIES = 3
_REGISTER_PAUSE = 2.0

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
        return replace(spec, computed=settle(store, device, batch, self._choose_batch))

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

            store = writer.path.resolve() if isinstance(writer.path, Path) else writer.path
            here = Path.cwd()
            files = absolute(self.data, here)
            folder = None if files == self.data else here
            job = Job(
                *(files, split, self._encoder, self.device, self.chosen, self.settings),
                *(writer.spec, store, self.on_error, folder),
            )
            return extract_on_cluster(self.client, job, work, watch, say=say)

        return fill

    @property
    def _encoder(self) -> BackboneSettings:
        """As the workers load it."""
        precision: Any = self.chosen.environment.precision
        return absolute_backbone(self.backbone, Path.cwd()).model_copy(update={"precision": precision})

    def _choose_batch(self) -> int:
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
    overdue_seconds: float = OVERDUE_SECONDS,
) -> Receipt | None:
    """Extract shards on whatever workers there are, now or later; with none, wait for some.

    Args:
        client: Of the cluster.
        job: What to extract; the store has been laid out.
        work: Shards that have no record yet, and what of them is known.
        watch: Called with (images computed, images in all, workers) whenever shards are done, and each second. What is
            computed of a shard that has to be begun again counts no more.
        say: Called with a line about workers that hang or are given no more, and there being none.
        overdue_seconds: See `Flight`.

    Returns:
        How fast the workers were, by what each has said last; None if nothing was computed.

    Raises:
        SpaceClipError: A worker met bad input, a shard failed again and again, no worker is fit, or the scheduler was
            lost. What is committed until then is kept.
    """
    run = _run_name(job.spec.fingerprint, client)
    groups = sharing_batches(work.shards, job.spec.shard, job.spec.computed["batch"])
    waiting, done, start = deque(groups), 0, time.perf_counter()
    under_way: dict[int, int] = {}
    topic = images_topic(run)

    def given(first: int) -> dict[int, Known]:
        return {shard: work.known_of(shard) for shard in groups[first]}

    flight = Flight(client, run, extract_shards, given, say, overdue_seconds)
    try:
        with scheduler_needed():
            _clear_up(client)
            client.subscribe_topic(topic, lambda event: under_way.update([event[1]]))
            _register(client, ShardWorker(job), run)
        while waiting or flight.open:
            with scheduler_needed():
                workers = max(1, flight.able)
                room = _AHEAD * workers - len(flight.open)
                if room >= workers:
                    flight.begin([waiting.popleft() for _ in range(min(len(waiting), room))])
                done += sum(work.count(shard) for first in flight.done() for shard in groups[first])
            begun = sum(images for first, images in list(under_way.items()) if first in flight.open)
            watch(done + begun, work.images, flight.workers)
        with scheduler_needed():
            events: Any = client.get_events(run)
    finally:
        flight.release()
        _unregister(client, run)
        with suppress(Exception):  # a scheduler that was lost
            client.unsubscribe_topic(topic)
    last = {event["worker"]: Receipt.from_dict(event["receipt"]) for _, event in events}
    # A worker that was started anew has said so under two addresses.
    here = {worker: found for worker, found in last.items() if worker in flight.pool.present} or last
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


@contextmanager
def encoders_kept(client: Any) -> Iterator[None]:
    """Context in which a worker's encoder serves one split after another."""
    name = _run_name("encoder", client)
    try:
        with scheduler_needed():
            _register(client, EncoderKeeper(), name)
        yield
    finally:
        _unregister(client, name)


def _run_name(what: str, client: Any) -> str:
    """Unlike that of any other run on the cluster; says whose it is."""
    return f"{PLUGIN}-{what}-{uuid4().hex[:8]}/{client.id}"


def _register(client: Any, plugin: WorkerPlugin, run: str) -> None:
    """Give the plugin to all workers, those too that join later.

    Raises:
        SpaceClipError: A worker cannot load it, or cannot be reached.
        OSError: The scheduler was lost.
    """
    for left in reversed(range(_REGISTER_TRIES)):
        try:
            client.register_plugin(plugin, name=run)
        except (ImportError, AttributeError, TypeError) as error:
            raise SpaceClipError(
                f"a worker cannot load this version of spaceclip ({type(error).__name__}: {error}): install the same "
                "one on all workers and start them anew"
            ) from error
        except OSError as error:
            # The scheduler says so too of a worker that dies just now: it will soon know that it is gone.
            time.sleep(_REGISTER_PAUSE)
            if client.status != "running":
                raise
            if not left:
                raise SpaceClipError(
                    f"a worker of the cluster cannot be reached ({error}): end it or start it anew, and run the same "
                    "command again"
                ) from error
        else:
            return


def _unregister(client: Any, run: str) -> None:
    """Have the workers stop what is under way and forget the encoder; a worker that hangs is not waited for."""
    if client.status == "running":
        with suppress(Exception):
            client.sync(client.scheduler.unregister_worker_plugin, name=run, callback_timeout=_UNREGISTER_SECONDS)


def _clear_up(client: Any) -> None:
    """Have the workers forget the runs whose process was killed, with their encoders."""

    # Defined in here, so that it travels as it is: the scheduler's machine may lack spaceclip.
    def left(dask_scheduler: Any = None) -> list[str]:
        owners = {name: name.partition("/")[2] for name in dask_scheduler.worker_plugins}
        return [name for name, owner in owners.items() if owner and owner not in dask_scheduler.clients]

    with suppress(Exception):  # a courtesy, no need
        for run in client.run_on_scheduler(left):
            if run.startswith(PLUGIN):
                _unregister(client, run)
