"""Pages as a user asks for them: of the folder of an evaluation, or of a study."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..cache import SpaceClipError, write_atomically
from ..evaluate import REPORT, RESULTS, SavedMapsFacts, finished_examples, ranked_views, read_results, run_page
from ..train import load_checkpoint
from .config import load_experiment
from .device import choose_device
from .features import extracted_by, open_scored
from .paths import require_writable
from .probe import FIGURE, PROBE, TABLE
from .progress import progress
from .study import STUDY, decode_arms, read_study, study_gallery, study_page
from .training import open_splits

if TYPE_CHECKING:
    from ..cache import Location


def write_report(
    folder: Path,
    features: "Location | None" = None,
    *,
    images: int,
    device: str = "auto",
    local_copy: Path | None = None,
) -> Path:
    """Write the page of a folder into it.

    Args:
        folder: Of an evaluation or a study.
        features: The folder of features that was scored on; by default that of its name, or of the study's base.
        images: How many the gallery shows.
        device: Where to decode them.
        local_copy: Folder that keeps what is read of a bucket.

    Raises:
        SpaceClipError: The folder is of neither, or its weights or features are not there any more.
    """
    require_writable(folder)
    if (folder / RESULTS).exists():
        page = _run(folder, features, images, device, local_copy)
    elif (folder / STUDY).exists():
        page = _study(folder, features, images, device, local_copy)
    elif (folder / PROBE).exists():
        raise SpaceClipError(f"{folder}: probes have no page; look at {TABLE} and {FIGURE} there, or `spaceclip show`")
    else:
        raise SpaceClipError(
            f"{folder}: holds neither {RESULTS} nor {STUDY}; run `spaceclip evaluate` or `spaceclip study` first"
        )
    write_atomically(folder / REPORT, page.encode())
    return folder / REPORT


def _run(folder: Path, features: "Location | None", images: int, device: str, local_copy: Path | None) -> str:
    results = read_results(folder)
    if isinstance(results.model, SavedMapsFacts):
        raise SpaceClipError(
            f"{folder}: is of saved maps, whose page only `spaceclip evaluate --predictions` writes; give that again"
        )
    checkpoint = load_checkpoint(results.model.path, choose_device(device))
    splits = open_scored(_present(features or Path("features") / results.name), local_copy)
    examples, views = finished_examples(folder, results, checkpoint, splits, images)
    return run_page(results, examples, checkpoint, views, timed=True)


def _study(folder: Path, features: "Location | None", images: int, device: str, local_copy: Path | None) -> str:
    results = read_study(folder)
    base = Path(results.base)
    folders = [features] if features else load_experiment(base).feature_folders(base.stem)
    with extracted_by(base, folders):
        _, validation = open_splits([_present(one) for one in folders], None, local_copy)
    if validation is None:
        raise SpaceClipError(f"{', '.join(map(str, folders))}: no validation split, expected that of the study")
    with progress("decode", "images") as report:
        arms = decode_arms(results, folder, validation, choose_device(device), report)
    if not arms:
        return study_page(results, folder, arms)
    views = ranked_views(validation, arms[0].images, images)
    return study_page(results, folder, arms, study_gallery(arms, validation, images), views)


def _present(features: "Location") -> "Location":
    if isinstance(features, Path) and not features.exists():
        raise SpaceClipError(f"{features}: the features are not there, of which the page shows images; give --features")
    return features
