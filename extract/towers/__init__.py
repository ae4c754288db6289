"""The frozen encoders: one family a module, behind one protocol."""

from .backbone import RANDOM, Backbone, BackboneSettings, Features, compute_dtype, load_backbone
from .batch import default_batch
from .capture import Tower, fastest_tower
from .device import device_kind, device_lost, is_device_lost
from .landing import land
from .recorded import is_local, load_recorded_backbone

__all__ = [
    "RANDOM",
    "Backbone",
    "BackboneSettings",
    "Features",
    "Tower",
    "compute_dtype",
    "default_batch",
    "device_kind",
    "device_lost",
    "fastest_tower",
    "is_device_lost",
    "is_local",
    "land",
    "load_backbone",
    "load_recorded_backbone",
]
