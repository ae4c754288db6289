"""Depth of videos: of each frame, with its time."""

from .flicker import UNCHANGED
from .prediction import VideoDone, VideoPrediction

__all__ = ["UNCHANGED", "VideoDone", "VideoPrediction"]
