"""Depth of videos: of each frame, with its time."""

from .prediction import VideoDone, VideoPrediction

__all__ = ["VideoDone", "VideoPrediction"]
