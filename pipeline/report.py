"""Pages as a user asks for them: of the folder of an evaluation, or of a study."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..cache import SpaceClipError, write_atomically
from ..evaluate import REPORT, RESULTS, DepthScale, SavedMapsFacts, finished_examples, read_results, run_page
from ..train import load_checkpoint
from .device import choose_device
from .features import open_scored
from .paths import require_writable

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
        folder: Of an evaluation.
        features: The folder of features that it was scored on; by default that of its name.
        images: How many the gallery shows.
        device: Where to decode them.
        local_copy: Folder that keeps what is read of a bucket.

    Raises:
        SpaceClipError: The folder is of neither, or its weights or features are not there any more.
    """
    require_writable(folder)
    if (folder / RESULTS).exists():
        page = _run(folder, features, images, device, local_copy)
    else:
        raise SpaceClipError(f"{folder}: holds no {RESULTS}; run `spaceclip evaluate` first")
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
    examples = finished_examples(folder, results, checkpoint, splits, images)
    scale = DepthScale.of((one.ground_truth for group in examples.values() for one in group), "log")
    return run_page(results, examples, scale, checkpoint)


def _present(features: "Location") -> "Location":
    if isinstance(features, Path) and not features.exists():
        raise SpaceClipError(f"{features}: the features are not there, of which the page shows images; give --features")
    return features
