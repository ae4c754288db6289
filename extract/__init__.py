"""Everything frozen: sources of images and depth, preprocessing, the encoder, and the run that fills the store."""

from .backbone import Backbone, BackboneSettings, Features, load_backbone
from .folder import FolderSettings, FolderSource
from .run import Extraction, ExtractSettings, extract
from .sources import Entry, Sample, Source

__all__ = [
    "Backbone",
    "BackboneSettings",
    "Entry",
    "ExtractSettings",
    "Extraction",
    "Features",
    "FolderSettings",
    "FolderSource",
    "Sample",
    "Source",
    "extract",
    "load_backbone",
]
