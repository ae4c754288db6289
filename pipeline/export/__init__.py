"""Depth without this package: a checkpoint as a file that other runtimes read."""

from .write import export_checkpoint

__all__ = ["export_checkpoint"]
