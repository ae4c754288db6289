"""Everything frozen: sources of images and depth, preprocessing, the encoder, and the run that fills the store."""

from .backbone import Backbone, BackboneSettings, Features, load_backbone
from .data import DataSettings, FolderData, SyntheticData, open_splits
from .folder import FolderSettings, FolderSource
from .run import Extraction, ExtractSettings, extract, store_spec
from .sources import Entry, Sample, Source

__all__ = [
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
    "Sample",
    "Source",
    "SyntheticData",
    "extract",
    "load_backbone",
    "open_splits",
    "store_spec",
]
