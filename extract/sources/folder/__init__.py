"""Anybody's images, with or without depth: a folder tree, or a list of files."""

from .depth_maps import DEPTH_SUFFIXES, SCALE_TEXT, decode_depth, said_scale
from .finding import natural_key
from .folder_source import FolderSettings, FolderSource
from .images import IMAGE_SUFFIXES, as_rgb, read_image
from .orientation import focal_35mm
from .raster import CONVERT, UNREAD_SUFFIXES

__all__ = [
    "CONVERT",
    "DEPTH_SUFFIXES",
    "IMAGE_SUFFIXES",
    "SCALE_TEXT",
    "UNREAD_SUFFIXES",
    "FolderSettings",
    "FolderSource",
    "as_rgb",
    "decode_depth",
    "focal_35mm",
    "natural_key",
    "read_image",
    "said_scale",
]
