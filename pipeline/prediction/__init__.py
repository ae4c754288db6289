"""Depth of photographs and videos: encoder and decoder together."""

from .cameras import CameraChoice, said_of
from .depth_map import DepthMap
from .files import FORMATS
from .intrinsics import Intrinsics
from .model import SpaceClip
from .rendering import coloured_depth, depth_scale, first_row
from .run import predict_inputs

__all__ = [
    "FORMATS",
    "CameraChoice",
    "DepthMap",
    "Intrinsics",
    "SpaceClip",
    "coloured_depth",
    "depth_scale",
    "first_row",
    "predict_inputs",
    "said_of",
]
