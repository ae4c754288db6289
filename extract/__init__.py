"""Everything frozen: sources of images and depth, preprocessing, the encoder, and the run that fills the store."""

from .backbone import Backbone, BackboneSettings, Features, load_backbone
from .data import DataSettings, FolderData, SyntheticData, describe, open_splits
from .datasets import KittiData, NyuData
from .folder import FolderSettings, FolderSource
from .preflight import Prediction, duration
from .run import Extraction, extract, plan
from .samples import OnError
from .settings import ExtractSettings, store_spec
from .sources import Entry, Sample, Source
from .splits import SPLITS
from .stages import Ceilings

__all__ = [
    "SPLITS",
    "Backbone",
    "BackboneSettings",
    "Ceilings",
    "DataSettings",
    "Entry",
    "ExtractSettings",
    "Extraction",
    "Features",
    "FolderData",
    "FolderSettings",
    "FolderSource",
    "KittiData",
    "NyuData",
    "OnError",
    "Prediction",
    "Sample",
    "Source",
    "SyntheticData",
    "describe",
    "duration",
    "extract",
    "load_backbone",
    "open_splits",
    "plan",
    "store_spec",
]
