"""Depth of photographs and videos: encoder and decoder together."""

from .cameras import CameraChoice
from .depth_map import DepthMap
from .files import FORMATS
from .intrinsics import Intrinsics
from .model import SpaceClip
from .run import predict_inputs

__all__ = ["FORMATS", "CameraChoice", "DepthMap", "Intrinsics", "SpaceClip", "predict_inputs"]
