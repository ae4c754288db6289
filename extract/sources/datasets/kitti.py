"""KITTI by Eigen's split: raw drives with the annotated depth maps."""

from typing import Literal

from ..folder.files import Crop
from .depth import DepthRange
from .layout import DatasetData, Layout

KB_CROP = Crop(352, 1216)

# The annotated maps' own train and val folders say nothing about Eigen's split: a listed frame may lie in either.
_IMAGES = (".", "raw")
_DEPTHS = ("train", "val", "data_depth_annotated/train", "data_depth_annotated/val", ".")

# The lidar sees some 80 to 120 m, nearly always something beyond 25 m, and most of its returns are road and cars near
# by: half of a frame lies within 4 to 25 m. Millimetres read as 1/256 m are 3.9 times as far, the reverse 0.26 times;
# counts end at 65535, so that millimetres show as 256 m at most.
_PLAUSIBLE = DepthRange(median=(4, 25), highest=(25, 130))

KITTI = Layout(
    kind="kitti",
    title="KITTI",
    example="2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png",
    lists={
        "train": ("kitti_eigen_train_files_with_gt.txt", "train_files_with_gt.txt"),
        "test": ("kitti_eigen_test_files_with_gt.txt", "test_files_with_gt.txt"),
    },
    images={"train": _IMAGES, "test": _IMAGES},
    depths={"train": _DEPTHS, "test": _DEPTHS},
    scene=r"([^/]*_drive_[0-9]+[^/]*)",
    depth_scale=256,
    plausible=_PLAUSIBLE,
)


class KittiData(DatasetData):
    """KITTI in its official layout.

    Listed images lie below `root` or `root/raw`, listed depth below `root`, `root/data_depth_annotated`, and the
    `train` or `val` folder of either. A scene is a drive.

    Attributes:
        kind: Names this source among the others.
        kb_crop: Cut image and depth to the lowest 352 rows and middle 1216 columns.
    """

    kind: Literal["kitti"] = "kitti"
    kb_crop: bool = False

    @property
    def layout(self) -> Layout:
        """Where its files lie."""
        return KITTI
