"""The field's data sets in their official layouts: KITTI and NYU Depth V2."""

from .check import check_dataset
from .kitti import KittiData
from .lists import write_split_lists
from .nyu import NyuData

__all__ = [
    "KittiData",
    "NyuData",
    "check_dataset",
    "write_split_lists",
]
