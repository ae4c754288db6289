"""The frozen encoders: one family a module, behind one protocol."""

from .backbone import RANDOM, Backbone, BackboneSettings, Features, load_backbone

__all__ = [
    "RANDOM",
    "Backbone",
    "BackboneSettings",
    "Features",
    "load_backbone",
]
