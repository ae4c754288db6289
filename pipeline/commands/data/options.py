"""What the commands on data sets are given."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...paths import FILE, NEW

if TYPE_CHECKING:
    from ....extract.sources.datasets import KittiData, NyuData

DATASETS = click.Choice(["kitti", "nyu"])
DATASET = click.argument("dataset", type=DATASETS)
ROOT = click.option("--root", type=NEW, required=True, help="Folder of the data set.")
TRAIN_LIST = click.option("--train-list", type=FILE, help="Your own list of the training frames.")
TEST_LIST = click.option("--test-list", type=FILE, help="Your own list of the test frames.")


def dataset_settings(
    dataset: str,
    root: Path,
    train_list: Path | None = None,
    test_list: Path | None = None,
) -> "KittiData | NyuData":
    """The settings of a data set from options."""
    from ....extract.sources.datasets import KittiData, NyuData
    from ...config import check_settings

    given = {"root": root, "train_list": train_list, "test_list": test_list}
    return check_settings(KittiData if dataset == "kitti" else NyuData, given, "options")
