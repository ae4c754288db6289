"""The field's data sets in their official layouts: KITTI and NYU Depth V2."""

from .kitti import KittiData
from .nyu import NyuData

__all__ = ["KittiData", "NyuData"]
