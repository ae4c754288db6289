"""The encoder of a worker, loaded once for all the splits of a run."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from dask.system import CPU_COUNT
from distributed import WorkerPlugin

from ...cache.cluster import on_workers, run_name
from ..towers import Backbone, BackboneSettings, default_batch, load_backbone
from .environment import device_here

_loaded = lru_cache(maxsize=1)(load_backbone)


class EncoderKeeper(WorkerPlugin):
    """A Dask worker plugin: while it is there, the encoder that was loaded last serves the next split too."""

    def teardown(self, worker: Any) -> None:
        """Called when the run or the worker ends."""
        _loaded.cache_clear()


def encoders_kept(client: Any) -> AbstractContextManager[None]:
    """Context in which a worker's encoder serves one split after another."""
    return on_workers(client, EncoderKeeper(), run_name("encoder", client))


def encoder_here(settings: BackboneSettings, device: str, sharing: int = 1) -> Backbone:
    """The encoder on this worker's device.

    Args:
        settings: Of the encoder.
        device: As `device_here`.
        sharing: How many workers share its cores.

    Raises:
        SpaceClipError: It cannot be loaded here, or there is no such device.
    """
    here = device_here(device)
    if here.type == "cpu":
        torch.set_num_threads(max(1, CPU_COUNT // sharing))
    return _loaded(**dict(settings), device=here)


def choose_batch(settings: BackboneSettings, device: str, layers: Sequence[int], views: int) -> int:
    """A task: how many images this worker's device is best given at once (see `default_batch`)."""
    return default_batch(encoder_here(settings, device), layers, views)
