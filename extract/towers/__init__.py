"""The frozen encoders: one family a module, behind one protocol."""

from .backbone import HOST, RANDOM, Backbone, Features, compute_dtype
from .batch import default_batch
from .capture import Tower, fastest_tower
from .device import device_kind, device_lost, is_device_lost
from .hidden_states import HiddenStates
from .host import HostTower, find_tower, host_backbone
from .hub import hub_file
from .landing import land
from .loading import BackboneSettings, load_backbone
from .processor import normalisation
from .recorded import is_local, load_recorded_backbone, require_recorded_weights

__all__ = [
    "HOST",
    "RANDOM",
    "Backbone",
    "BackboneSettings",
    "Features",
    "HiddenStates",
    "HostTower",
    "Tower",
    "compute_dtype",
    "default_batch",
    "device_kind",
    "device_lost",
    "fastest_tower",
    "find_tower",
    "host_backbone",
    "hub_file",
    "is_device_lost",
    "is_local",
    "land",
    "load_backbone",
    "load_recorded_backbone",
    "normalisation",
    "require_recorded_weights",
]
