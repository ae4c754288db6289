"""What features are computed with, which decides their last bits: settled when a store is begun, and kept to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..cache import DamagedError, Location, StoreSpec, place_at, read_attributes, require_same
from .settings import ExtractSettings, computing
from .towers import Backbone, default_batch, device_kind

Settle = Callable[[StoreSpec, Location], StoreSpec]
"""Says what a store's features are computed with, from its spec and place."""


def settled(spec: StoreSpec, store: Location, backbone: Backbone, settings: ExtractSettings) -> StoreSpec:
    """The spec with what this process computes it with.

    Raises:
        StoreError: As `settle`.
    """

    def choose() -> int:
        with computing(backbone, settings):
            return default_batch(backbone, settings.layers, len(settings.views))

    return replace(spec, computed=settle(store, device_kind(backbone.device), settings.batch_size, choose))


def settle(store: Location, device: str, batch: int | None, choose: Callable[[], int]) -> dict[str, Any]:
    """What a run computes with (see `StoreSpec.computed`): what the store was begun with, if there is one.

    Args:
        store: What is to be filled; it need not be there yet.
        device: Kind of device that this run computes on (see `device_kind`).
        batch: Images in one forward pass, if the user has a wish.
        choose: Called for it where neither the user nor the store says.

    Raises:
        StoreError: The store was begun on another kind of device or in other batches, or cannot be read.
    """
    begun = begun_with(store)
    if batch == begun.get("asked"):
        batch = None  # memory ran out since, and what is asked for again was found to be too much
    computed = {**begun, "device": device, "batch": batch or begun.get("batch") or choose()}
    require_same(begun, {name: computed[name] for name in begun}, str(store), "computed")
    return computed


def begun_with(store: Location) -> dict[str, Any]:
    """What a store was begun with; empty where there is none."""
    try:
        attributes = read_attributes(place_at(store))
    except DamagedError:
        attributes = None  # the writer's to mend or to refuse
    return attributes["identity"]["computed"] if attributes else {}
