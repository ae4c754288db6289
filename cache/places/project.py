"""The project that a working folder belongs to, so that copies of a checkout share its data and its stores."""

import os
from pathlib import Path

ROOT = "SPACECLIP_ROOT"


def project_root() -> Path:
    """Where relative paths of data and stores start.

    That is `SPACECLIP_ROOT` if it is set; the checkout, where DVC runs an experiment in a temporary copy below the
    checkout's `.dvc/tmp` (DVC names the checkout in `DVC_ROOT`); else the working folder.
    """
    if given := os.environ.get(ROOT):
        return Path(given).absolute()
    here = Path.cwd()
    checkout = Path(os.environ.get("DVC_ROOT", here)).resolve()
    return checkout if here.is_relative_to(checkout / ".dvc" / "tmp") else here


def in_project(path: Path) -> Path:
    """The place in the project of a path of the working folder; the path as given where that is the same."""
    here, root = Path.cwd(), project_root()
    if root == here or not path.absolute().is_relative_to(here):
        return path
    return root / path.absolute().relative_to(here)


def features_folders() -> list[Path]:
    """The `features` of the project, of the working folder, and of the copies in which DVC runs experiments."""
    root = project_root()
    copies = root / ".dvc" / "tmp" / "exps"
    # The queue's lie beside `standalone`, which holds those of `dvc exp run --temp`.
    places = {root, Path.cwd(), *copies.glob("*"), *copies.glob("standalone/*")}
    return [folder for place in sorted(places) if (folder := place / "features").is_dir()]
