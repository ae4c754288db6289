"""Anybody's images, with or without depth: a folder tree, or a list of files."""

from .depth_maps import DEPTH_SUFFIXES, decode_depth
from .folder_source import FolderSettings, FolderSource

__all__ = [
    "DEPTH_SUFFIXES",
    "FolderSettings",
    "FolderSource",
    "decode_depth",
]
