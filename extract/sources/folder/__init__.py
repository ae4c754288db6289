"""Anybody's images, with or without depth: a folder tree, or a list of files."""

from .folder_source import FolderSettings, FolderSource
from .images import DEPTH_SUFFIXES, decode_depth

__all__ = [
    "DEPTH_SUFFIXES",
    "FolderSettings",
    "FolderSource",
    "decode_depth",
]
