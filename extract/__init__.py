"""Everything frozen: sources of images and depth, preprocessing, the encoder, and the run that fills the store."""

from .engine import Receipt
from .estimate import Prediction, duration, room
from .extraction import DatasetExtraction, RunOptions
from .paths import absolute, absolute_backbone
from .preprocess import prepare_depth, prepare_image
from .problems import counted, first_few, no_file
from .samples import OnError
from .settings import ExtractSettings, store_spec
from .sources.data_settings import DataSettings, FolderData, SyntheticData, describe, open_splits
from .sources.datasets import KittiData, NyuData
from .sources.folder import (
    CONVERT,
    IMAGE_SUFFIXES,
    UNREAD_SUFFIXES,
    FolderSettings,
    FolderSource,
    as_rgb,
    focal_35mm,
    natural_key,
    read_image,
)
from .sources.source import Entry, Sample, Source
from .sources.splits import SPLITS
from .split_extraction import Extraction, extract, plan
from .towers import (
    HOST,
    Backbone,
    BackboneSettings,
    Features,
    HiddenStates,
    HostTower,
    find_tower,
    host_backbone,
    hub_file,
    is_local,
    load_backbone,
    load_recorded_backbone,
    normalisation,
    require_recorded_weights,
)
from .yaml_file import parse_yaml, read_yaml

__all__ = [
    "CONVERT",
    "HOST",
    "IMAGE_SUFFIXES",
    "SPLITS",
    "UNREAD_SUFFIXES",
    "Backbone",
    "BackboneSettings",
    "DataSettings",
    "DatasetExtraction",
    "Entry",
    "ExtractSettings",
    "Extraction",
    "Features",
    "FolderData",
    "FolderSettings",
    "FolderSource",
    "HiddenStates",
    "HostTower",
    "KittiData",
    "NyuData",
    "OnError",
    "Prediction",
    "Receipt",
    "RunOptions",
    "Sample",
    "Source",
    "SyntheticData",
    "absolute",
    "absolute_backbone",
    "as_rgb",
    "counted",
    "describe",
    "duration",
    "extract",
    "find_tower",
    "first_few",
    "focal_35mm",
    "host_backbone",
    "hub_file",
    "is_local",
    "load_backbone",
    "load_recorded_backbone",
    "natural_key",
    "no_file",
    "normalisation",
    "open_splits",
    "parse_yaml",
    "plan",
    "prepare_depth",
    "prepare_image",
    "read_image",
    "read_yaml",
    "require_recorded_weights",
    "room",
    "store_spec",
]
