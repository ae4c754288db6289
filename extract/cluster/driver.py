"""The extraction run on a Dask cluster: shards as tasks, one process a GPU, the model loaded in the worker."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from ...cache import SpaceClipError, StoreWriter
from ..engine import Fill
from ..paths import absolute, absolute_backbone
from ..remaining import Work
from ..samples import OnError
from ..settings import ExtractSettings
from ..sources.data_settings import AnyData
from ..stages import Ceilings, together
from ..towers import BackboneSettings
from .scheduling import OVERDUE_SECONDS, Flight
from .worker import Job, ShardWorker, extract_shard, images_topic

PLUGIN = "spaceclip-extract"

# Each worker has two shards under way, the next at hand, and one more: there are always a few to submit at once, which
# takes a third less than to submit each alone.
_AHEAD = 4
_UNREGISTER_SECONDS = 5
_REGISTER_TRIES = 3
_REGISTER_PAUSE = 2.0

Watch = Callable[[int, int, int], None]


def fill_on(
    client: Client,
    data: AnyData,
    split: str,
    backbone: BackboneSettings,
    device: str,
    settings: ExtractSettings,
    on_error: OnError = "stop",
    workers: Callable[[int], None] = lambda _count: None,
    say: Callable[[str], None] = lambda _line: None,
) -> Fill:
    """The `fill` of `extract` on a cluster; `workers` is called with how many there are, `say` with what is odd."""

    def fill(writer: StoreWriter, work: Work, progress: Callable[[int], None]) -> Ceilings | None:
        def watch(done: int, _total: int, count: int) -> None:
            writer.still_ours()
            workers(count)
            progress(done)

        store = writer.path.resolve() if isinstance(writer.path, Path) else writer.path
        here = Path.cwd()
        files, encoder = absolute(data, here), absolute_backbone(backbone, here)
        folder = None if files == data else here
        job = Job(files, split, encoder, device, settings, writer.spec, store, on_error, folder)
        return extract_on_cluster(client, job, work, watch, say=say)

    return fill


def extract_on_cluster(
    client: Client,
    job: Job,
    work: Work,
    watch: Watch,
    *,
    say: Callable[[str], None] = lambda _line: None,
    overdue_seconds: float = OVERDUE_SECONDS,
) -> Ceilings | None:
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
    # Another run on the same cluster, of this store or another, must not take this one's place.
    run = f"{PLUGIN}-{job.spec.fingerprint}-{uuid4().hex[:8]}/{client.id}"
    waiting, done, start = deque(work.shards), 0, time.perf_counter()
    under_way: dict[int, int] = {}
    topic = images_topic(run)
    flight = Flight(client, run, extract_shard, work.known_of, say, overdue_seconds)
    try:
        with _scheduler_needed():
            _clear_up(client)
            client.subscribe_topic(topic, lambda event: under_way.update([event[1]]))
            _register(client, ShardWorker(job), run)
        while waiting or flight.open:
            with _scheduler_needed():
                workers = max(1, flight.able)
                room = _AHEAD * workers - len(flight.open)
                if room >= workers:
                    flight.begin([waiting.popleft() for _ in range(min(len(waiting), room))])
                done += sum(map(work.count, flight.done()))
            begun = sum(images for shard, images in list(under_way.items()) if shard in flight.open)
            watch(done + begun, work.images, flight.workers)
        with _scheduler_needed():
            events: Any = client.get_events(run)
    finally:
        flight.release()
        _unregister(client, run)
        with suppress(Exception):  # a scheduler that was lost
            client.unsubscribe_topic(topic)
    last = {event["worker"]: Ceilings(**event["ceilings"]) for _, event in events}
    # A worker that was started anew has said so under two addresses.
    here = {worker: found for worker, found in last.items() if worker in flight.pool.present} or last
    return together(list(here.values()), done, time.perf_counter() - start)


@contextmanager
def _scheduler_needed() -> Iterator[None]:
    try:
        yield
    except (CommClosedError, FutureCancelledError, TimeoutError, OSError) as error:
        raise SpaceClipError(
            f"the scheduler was lost ({type(error).__name__}); committed shards are safe: start it, and run the same "
            "command again to go on"
        ) from error


def _register(client: Any, plugin: ShardWorker, run: str) -> None:
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
