"""What a run leaves on the workers of a cluster while it lasts, and what killed runs have left there."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from distributed import WorkerPlugin

from ..errors import SpaceClipError
from .connection import scheduler_needed

PLUGIN = "spaceclip"

_UNREGISTER_SECONDS = 5
_REGISTER_TRIES = 3
_REGISTER_PAUSE = 2.0


def run_name(what: str, client: Any) -> str:
    """Unlike that of any other run on the cluster; says whose it is."""
    return f"{PLUGIN}-{what}-{uuid4().hex[:8]}/{client.id}"


@contextmanager
def on_workers(
    client: Any, plugin: WorkerPlugin, name: str, hear: Callable[[tuple[float, Any]], None] = lambda _event: None
) -> Iterator[None]:
    """Context in which all workers have the plugin, those too that join later.

    Args:
        client: Of the cluster.
        plugin: The plugin.
        name: Of the plugin, and of the topic under which it says something.
        hear: Called with (time, what it says), in a thread of the client's.

    Raises:
        SpaceClipError: A worker cannot load it or cannot be reached, or the scheduler was lost.
    """
    try:
        with scheduler_needed():
            client.subscribe_topic(name, hear)
            _register(client, plugin, name)
        yield
    finally:
        _unregister(client, name)


def clear_up(client: Any) -> None:
    """Have the workers forget the runs whose process was killed."""

    # Defined in here, so that it travels as it is: the scheduler's machine may lack spaceclip.
    def left(dask_scheduler: Any = None) -> list[str]:
        owners = {name: name.partition("/")[2] for name in dask_scheduler.worker_plugins}
        return [name for name, owner in owners.items() if owner and owner not in dask_scheduler.clients]

    with suppress(Exception):  # a courtesy, no need
        for name in client.run_on_scheduler(left):
            if name.startswith(PLUGIN):
                _unregister(client, name)


def _register(client: Any, plugin: WorkerPlugin, name: str) -> None:
    for left in reversed(range(_REGISTER_TRIES)):
        try:
            client.register_plugin(plugin, name=name)
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


def _unregister(client: Any, name: str) -> None:
    """Have the workers stop what is under way and forget the plugin; a worker that hangs is not waited for."""
    if client.status == "running":
        with suppress(Exception):
            client.sync(client.scheduler.unregister_worker_plugin, name=name, callback_timeout=_UNREGISTER_SECONDS)
            client.unsubscribe_topic(name)
