"""Everything frozen: sources of images and depth, preprocessing, the encoder, and the run that fills the store."""

from .backbone import Backbone, BackboneSettings, Features, load_backbone
from .data import DataSettings, FolderData, SyntheticData, describe, open_splits
from .datasets import KittiData, NyuData
from .folder import FolderSettings, FolderSource
from .run import Extraction, ExtractSettings, extract, store_spec
from .sources import Entry, Sample, Source
from .splits import SPLITS

__all__ = [
    "SPLITS",
    "Backbone",
    "BackboneSettings",
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
    "Sample",
    "Source",
    "SyntheticData",
    "describe",
    "extract",
    "load_backbone",
    "open_splits",
    "store_spec",
]
