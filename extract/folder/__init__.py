"""Anybody's images, with or without depth: a folder tree, or a list of files."""

from .source import FolderSettings, FolderSource

__all__ = ["FolderSettings", "FolderSource"]
